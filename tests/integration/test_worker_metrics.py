"""The samples a worker writes of itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import uuid4

import asyncpg
import pytest

from embedq_worker.database.connections import open_pool
from embedq_worker.service.metrics import WorkerMetrics
from embedq_worker.service.pipeline import BatchReport
from tests.support.blocking import until_any_blocked
from tests.support.databases import Connection, Database

ENDED = """SELECT coalesce(sum((metadata ->> 'n')::int), 0) FROM performance_metrics
           WHERE metric_type = 'queue_throughput'"""


async def test_what_happens_while_a_sample_is_written_is_in_the_next(
    database: Database, connection: Connection
) -> None:
    metrics = WorkerMetrics(uuid4(), slots=1)
    async with open_pool(database.settings, "test", size=1) as pool:
        metrics.batch(BatchReport(Counter(stored=2)), 0.1)
        async with connection.transaction():
            await connection.execute("LOCK TABLE performance_metrics")
            writing = asyncio.create_task(metrics.write(pool))
            await until_any_blocked(connection)
            metrics.batch(BatchReport(Counter(stored=3)), 0.1)
        await writing
        await metrics.write(pool)
    assert await connection.fetchval(ENDED) == 5


async def test_what_could_not_be_written_is_in_the_next_sample(
    database: Database, connection: Connection
) -> None:
    metrics = WorkerMetrics(uuid4(), slots=1)
    async with open_pool(database.settings, "test", size=1) as pool:
        metrics.batch(BatchReport(Counter(stored=2)), 0.1)
        await connection.execute("ALTER TABLE performance_metrics RENAME TO elsewhere")
        with pytest.raises(asyncpg.UndefinedTableError):
            await metrics.write(pool)
        await connection.execute("ALTER TABLE elsewhere RENAME TO performance_metrics")
        metrics.batch(BatchReport(Counter(stored=3)), 0.1)
        await metrics.write(pool)
    assert await connection.fetchval(ENDED) == 5
