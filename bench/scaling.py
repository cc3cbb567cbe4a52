"""What claim, completion and counts cost beside 10,000 to 10,000,000 finished and 1,000,000 pending tasks."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from uuid import uuid4

import asyncpg

from bench.scratch import milliseconds, scratch_database
from embedq_worker import fleet, queue
from embedq_worker.database import Pool, open_pool
from embedq_worker.queue import Action, Completion, Scope
from embedq_worker.storage import VectorStorage, inspect_storage

BATCH = 50

_FINISHED = """
INSERT INTO embedding_tasks (id, article_id, slug, operation, priority, status, attempts, created_at,
                             processed_at, completed_at)
SELECT gen_random_uuid(), 1 + i % 1000, 'slug-' || i % 1000, 'update', 'normal', 'completed', 1,
       now() - i * interval '1 millisecond', now(), now()
FROM generate_series(1, $1::int) AS i"""

_PENDING = """
INSERT INTO embedding_tasks (id, slug, operation, priority, created_at, scheduled_at)
SELECT gen_random_uuid(), 'slug-' || i, 'update', (ARRAY['high', 'normal', 'low'])[1 + i % 3],
       now() - i * interval '1 millisecond', now() - i * interval '1 millisecond'
FROM generate_series(1, $1::int) AS i"""


async def load(connection: asyncpg.Connection[asyncpg.Record], finished: int, pending: int) -> None:
    """Fill the queue; counts are made right afterwards."""
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(_FINISHED, finished, timeout=3600)
    await connection.execute(_PENDING, pending, timeout=3600)
    await connection.execute("RESET session_replication_role")
    await connection.execute("SELECT count(*) FROM embedq_repair_counts()", timeout=3600)
    await connection.execute("SELECT embedq_fold_counts()")
    await connection.execute("VACUUM ANALYZE embedding_tasks", timeout=3600)


async def timed(rounds: int, step: Callable[[], Awaitable[object]]) -> list[float]:
    """Seconds of each round."""
    seconds = []
    for _ in range(rounds):
        began = perf_counter()
        await step()
        seconds.append(perf_counter() - began)
    return seconds


async def measure(pool: Pool, storage: VectorStorage, rounds: int) -> None:
    """Print what each step costs."""
    scope = Scope(uuid4(), "bench", "bench/none")
    claims: list[float] = []
    completions: list[float] = []
    for _ in range(rounds):
        began = perf_counter()
        tasks = await queue.claim(pool, scope, BATCH)
        claimed = perf_counter()
        await queue.complete(pool, scope, storage, [Completion(task, Action.DELETE) for task in tasks])
        claims.append(claimed - began)
        completions.append(perf_counter() - claimed)
        assert len(tasks) == BATCH
    print(f"  claim {BATCH}            {milliseconds(claims)}")
    print(f"  complete {BATCH}         {milliseconds(completions)}")
    looks = await timed(rounds, lambda: fleet.outlook(pool, None, None, within_s=0))
    print(f"  outlook             {milliseconds(looks)}")
    counts = await timed(rounds, lambda: pool.fetch("SELECT * FROM embedq_live_counts"))
    print(f"  exact counts        {milliseconds(counts)}")
    scans = await timed(3, lambda: pool.fetch("SELECT status, count(*) FROM embedding_tasks GROUP BY 1"))
    print(f"  COUNT(*) instead    {milliseconds(scans)}")


async def main(finished: list[int], pending: int, rounds: int) -> None:
    """Measure each size in a database of its own."""
    for size in finished:
        async with scratch_database() as settings:
            connection = await asyncpg.connect(**settings.connect_arguments())
            await connection.execute(
                """INSERT INTO articles (title, slug, content)
                   SELECT i::text, i::text, '' FROM generate_series(1, 1000) AS i"""
            )
            await load(connection, size, pending)
            storage = await inspect_storage(connection)
            await connection.close()
            print(f"{size:,} finished, {pending:,} pending", flush=True)
            async with open_pool(settings, "bench", size=2) as pool:
                await measure(pool, storage, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--finished", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000])
    parser.add_argument("--pending", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.finished, arguments.pending, arguments.rounds))
