"""One database with everybody who uses it: what a fault can get hold of."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from tests.soak.author import Author
from tests.soak.fleet import Fleet
from tests.support.crashing import CrashingServer
from tests.support.databases import Connection, Database
from tests.support.oracle import install_witness
from tests.support.provider_stub import ProviderStub
from tests.support.tcp_proxy import TcpProxy
from tests.support.worker_process import environment

CHUNK_SIZE, CHUNK_OVERLAP = 40, 5
WORKERS = 4

SETTINGS: dict[str, object] = {
    "EMBEDDING_QUEUE_HEARTBEAT_INTERVAL": 3_000,
    "EMBEDDING_WORKER_INTERVAL": 500,
    "EMBEDDING_RETRY_BACKOFF_BASE": 50,
    "EMBEDDING_RETRY_BACKOFF_MAX": 1_000,
    "EMBEDDING_SHUTDOWN_GRACE": 5_000,
    "CHUNK_SIZE": CHUNK_SIZE,
    "CHUNK_OVERLAP": CHUNK_OVERLAP,
}
"""Of the workers: silent for 4.5 s they are taken for dead; otherwise as by default."""


@dataclass
class Scene:
    """Everybody.

    Attributes:
        server: Holds the database.
        database: Theirs.
        stub: The provider.
        proxy: Between the workers and the database.
        fleet: The workers.
        author: The article application.
        variables: Environment of a worker.
        chance: Decides.
        broken: What a fault saw that must not be.
    """

    server: CrashingServer
    database: Database
    stub: ProviderStub
    proxy: TcpProxy
    fleet: Fleet
    author: Author
    variables: dict[str, str]
    chance: random.Random
    broken: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        """A connection of an operator's psql, straight to the server."""
        connection = await asyncpg.connect(self.database.url, timeout=10, command_timeout=30)
        try:
            yield connection
        finally:
            connection.terminate()

    async def ask(self, question: str, *arguments: object) -> Any:
        """One value."""
        async with self.connected() as connection:
            return await connection.fetchval(question, *arguments)

    async def say(self, statement: str) -> int:
        """Type a statement into psql; how many rows it changed."""
        async with self.connected() as connection:
            return int((await connection.execute(statement)).split()[-1])


@asynccontextmanager
async def scene(server: CrashingServer, chance: random.Random, articles: int) -> AsyncIterator[Scene]:
    """A fresh database with articles to embed, a provider that takes its time, and workers.

    Args:
        server: Where it is made.
        chance: Decides.
        articles: There at the beginning.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(server.server.new_database(server.server.template))
        author = Author(database, chance)
        connection = await database.connect()
        await install_witness(connection)
        await author.prepare(connection, articles)
        await connection.close()
        stub = await stack.enter_async_context(ProviderStub())
        stub.faults.latency_s = 0.05
        proxy = await stack.enter_async_context(TcpProxy(database.url))
        variables = environment(database, stub, **SETTINGS, DATABASE_URL=proxy.url)
        fleet = await stack.enter_async_context(Fleet(variables, WORKERS, chance))
        yield Scene(server, database, stub, proxy, fleet, author, variables, chance)
