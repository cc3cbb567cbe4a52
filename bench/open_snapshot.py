"""What claims and readers cost (medians) while a transaction elsewhere keeps finished tasks in the index."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping
from statistics import median
from time import perf_counter
from uuid import uuid4

import asyncpg

from bench.scratch import scratch_database
from bench.server import server
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection, Pool, open_pool
from embedq_worker.insights.health import health
from embedq_worker.insights.overview import overview
from embedq_worker.insights.stuck import stuck
from embedq_worker.queue import claims, fleet
from embedq_worker.queue.claims import Completion, CompletionKind, Scope
from embedq_worker.queue.low_water import LowWater
from embedq_worker.schema.storage import inspect_storage

BATCH = 50

REPEATS = 20


async def main(tasks: int) -> None:
    """Finish many tasks under an old snapshot, claiming with and without the low-water mark; then read."""
    async with scratch_database() as settings:
        arguments = settings.connect_arguments()
        connection = await asyncpg.connect(**arguments)
        await connection.execute(
            """INSERT INTO embedding_tasks (id, slug, operation, scheduled_at)
               SELECT gen_random_uuid(), 'bench', 'update', now() - interval '1 day' + i * interval '1 ms'
               FROM generate_series(1, $1::int) AS i""",
            tasks,
        )
        old = await asyncpg.connect(**arguments)
        transaction = old.transaction(isolation="repeatable_read")
        await transaction.start()
        await old.fetchval("SELECT count(*) FROM articles")
        storage = await inspect_storage(connection)
        scope = Scope(uuid4(), "bench", "bench/none")
        marked = LowWater()
        seconds: dict[str, list[float]] = {"with": [], "without": []}
        async with open_pool(settings, "bench", size=2) as pool:
            for number in range((tasks - 1) // BATCH):
                hint = "without" if number % 10 == 9 else "with"
                marks = marked.marks() if hint == "with" else []
                began = perf_counter()
                claimed = await claims.claim(pool, scope, BATCH, marks)
                seconds[hint].append(perf_counter() - began)
                marked.claimed(claimed, seconds[hint][-1])
                await claims.complete(
                    pool, scope, storage, [Completion(task, CompletionKind.DELETE) for task in claimed]
                )
            for hint, values in seconds.items():
                last = median(values[-20:]) * 1000
                print(f"claim {BATCH} after {tasks:,} tasks, {hint} the mark: {last:.2f} ms (last 20)")
            for name, read in readers(pool, connection, settings, scope).items():
                print(f"{name} after {tasks:,} tasks: {await milliseconds_of(read):.2f} ms")
        await transaction.rollback()
        await old.close()
        await connection.close()


def readers(
    pool: Pool, connection: Connection, settings: Settings, scope: Scope
) -> Mapping[str, Callable[[], Awaitable[object]]]:
    """Who looks for what is in hand, and for the head of what is pending."""
    return {
        "rescue": lambda: fleet.rescue(pool, dead_s=45, stuck_s=1_800, limit=500),
        "disown": lambda: fleet.disown(pool, scope.worker, [], older_s=30),
        "outlook": lambda: fleet.outlook(pool, scope, within_s=0),
        "stuck": lambda: stuck(connection, settings),
        "overview": lambda: overview(connection, settings),
        "health": lambda: health(connection, settings),
    }


async def milliseconds_of(read: Callable[[], Awaitable[object]]) -> float:
    """Median of a few times."""
    seconds = []
    for _ in range(REPEATS):
        began = perf_counter()
        await read()
        seconds.append(perf_counter() - began)
    return median(seconds) * 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    with server():
        asyncio.run(main(parser.parse_args().tasks))
