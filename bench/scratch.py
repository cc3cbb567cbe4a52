"""Scratch databases for a measurement: made, migrated, dropped."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
from pydantic import SecretStr

from bench.server import VARIABLE
from embedq_worker.configuration.settings import Settings
from embedq_worker.schema import migrations


@asynccontextmanager
async def empty_database() -> AsyncIterator[str]:
    """URL of an empty database on the server of BENCH_DATABASE_URL, whose role may create databases."""
    administration = os.environ.get(VARIABLE)
    if not administration:
        sys.exit(f"set {VARIABLE} to a PostgreSQL server on which databases may be created")
    name = f"embedq_bench_{secrets.token_hex(4)}"
    connection = await asyncpg.connect(administration)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield urlsplit(administration)._replace(path=f"/{name}").geturl()
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@asynccontextmanager
async def scratch_database(dimensions: int = 256) -> AsyncIterator[Settings]:
    """A migrated database.

    Args:
        dimensions: Components per vector.
    """
    async with empty_database() as url:
        settings = Settings(
            _env_file=None,
            database_url=SecretStr(url),
            provider="local",
            dimensions_wanted=dimensions,
        )
        await migrations.up(settings)
        yield settings
