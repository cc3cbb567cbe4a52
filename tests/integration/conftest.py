"""Fixtures of the tests that need a queue."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.backfilling import OPTIONS
from tests.support.databases import Connection, Database
from tests.support.legacy import make_legacy
from tests.support.piping import Bench, bench
from tests.support.provider_stub import ProviderStub
from tests.support.queue_world import World, open_world


@pytest.fixture
async def world(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[World]:
    """A queue; its storage is the parameter, see `BOTH_STORAGES`."""
    async with open_world(database, getattr(request, "param", None)) as opened:
        yield opened


@pytest.fixture
async def worker(database: Database, stub: ProviderStub) -> AsyncIterator[Bench]:
    """The pipeline of a worker that embeds with the model of `backfilling.OPTIONS`."""
    async with bench(database, stub) as opened:
        assert opened.scope.model == OPTIONS.model
        yield opened


WRITER = "embedq_test_writer"


@pytest.fixture
async def writer(world: World) -> AsyncIterator[Connection]:
    """A session of the article program's role: rights on the public tables, none on ours."""
    await world.psql.execute(
        f"""DO $$ BEGIN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{WRITER}') THEN
                    CREATE ROLE {WRITER} LOGIN;
                END IF;
            END $$;
            GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON embedding_tasks, articles, embeddings,
                embedding_worker_status TO {WRITER};
            GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {WRITER}"""
    )
    connection = await asyncpg.connect(world.database.url, user=WRITER)
    yield connection
    await connection.close()


@pytest.fixture
async def legacy(empty_database: Database) -> Database:
    """A database of another program, with its tables and 200 tasks."""
    await make_legacy(await empty_database.connect())
    return empty_database
