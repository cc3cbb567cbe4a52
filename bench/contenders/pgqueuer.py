"""PgQueuer: asyncpg, batches, the handler does nothing."""

from __future__ import annotations

from time import perf_counter

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

from bench.contenders import Gate, Started

BATCH = 500
CONNECTIONS = 4


class Pgqueuer:
    """See the module."""

    setting = f"batches of {BATCH}, a pool of {CONNECTIONS}"
    insert = (
        """INSERT INTO pgqueuer (priority, entrypoint, payload, status) VALUES (0, 'noop', NULL, 'queued')"""
    )

    async def prepare(self, url: str) -> None:
        """Its own installation."""
        connection = await asyncpg.connect(url)
        await Queries.from_asyncpg_connection(connection).install()
        await connection.close()

    async def enqueue(self, url: str, jobs: int) -> float:
        """1,000 a call."""
        connection = await asyncpg.connect(url)
        queries = Queries.from_asyncpg_connection(connection)
        began = perf_counter()
        for start in range(0, jobs, 1_000):
            count = min(1_000, jobs - start)
            await queries.enqueue(["noop"] * count, [None] * count, [0] * count)
        seconds = perf_counter() - began
        await connection.close()
        return seconds

    async def drain(self, url: str, gate: Gate) -> float:
        """Its drain mode."""
        async with asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
            queue = PgQueuer.from_asyncpg_pool(pool)

            @queue.entrypoint("noop")
            async def noop(job: Job) -> None:
                return None

            await gate()
            began = perf_counter()
            await queue.run(batch_size=BATCH, mode=QueueExecutionMode.drain)
            return perf_counter() - began

    async def serve(self, url: str, started: Started) -> None:
        """As it comes."""
        async with asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
            queue = PgQueuer.from_asyncpg_pool(pool)

            @queue.entrypoint("noop")
            async def noop(job: Job) -> None:
                started()

            await queue.run()


CONTENDER = Pgqueuer()
