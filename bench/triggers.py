"""What the triggers cost whoever writes: rates with them as a share of those without, A B A B in one run."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter
from typing import TypeAlias

import asyncpg

from bench.scratch import scratch_database
from bench.server import server
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import connect

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Step: TypeAlias = Callable[[Connection], Awaitable[int]]

_ONE = "INSERT INTO embedding_tasks (id, slug, operation) VALUES (gen_random_uuid(), 'bench', 'update')"
_MANY = """INSERT INTO embedding_tasks (id, slug, operation)
           SELECT gen_random_uuid(), 'bench', 'update' FROM generate_series(1, 1000)"""


async def insert_one(connection: Connection) -> int:
    """A task in a transaction of its own, as an article application saves."""
    await connection.execute(_ONE)
    return 1


async def insert_many(connection: Connection) -> int:
    """A thousand tasks in one statement."""
    await connection.execute(_MANY)
    return 1000


async def rate(connections: list[Connection], step: Step, seconds: float) -> float:
    """Rows per second of all connections together."""

    async def work(connection: Connection) -> int:
        rows = 0
        while perf_counter() < end:
            rows += await step(connection)
        return rows

    began = perf_counter()
    end = began + seconds
    done = await asyncio.gather(*(work(connection) for connection in connections))
    return sum(done) / (perf_counter() - began)


async def compare(
    settings: Settings, name: str, step: Step, clients: int, rounds: int, seconds: float
) -> None:
    """Print the median of the ratios of neighbouring runs."""
    connections = [await connect(settings, "bench") for _ in range(clients)]
    listener = await connect(settings, "bench listener")
    await listener.add_listener("embedq_work", lambda *_: None)
    await listener.add_listener("embedq_changes", lambda *_: None)
    ratios, rates = [], []
    for _ in range(rounds):
        pair = []
        for state in ("DISABLE", "ENABLE"):
            await connections[0].execute("TRUNCATE embedding_tasks")
            await connections[0].execute("SELECT embedq_fold_counts()")
            await connections[0].execute(f"ALTER TABLE embedding_tasks {state} TRIGGER USER")
            pair.append(await rate(connections, step, seconds))
        ratios.append(pair[1] / pair[0])
        rates.append(pair[1])
    print(
        f"{name:<28} {clients:>2} clients: {median(ratios):.2f} of the rate without triggers "
        f"(from {min(ratios):.2f} to {max(ratios):.2f}; {median(rates):,.0f} rows/s with them)",
        flush=True,
    )
    for connection in (*connections, listener):
        await connection.close()


async def main(rounds: int, seconds: float) -> None:
    """Measure single inserts and bulk inserts."""
    async with scratch_database() as settings:
        await compare(settings, "insert, 1 row each", insert_one, 1, rounds, seconds)
        await compare(settings, "insert, 1 row each", insert_one, 8, rounds, seconds)
        await compare(settings, "insert, 1 row each", insert_one, 32, rounds, seconds)
        await compare(settings, "insert, 1,000 rows each", insert_many, 2, rounds, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    with server():
        asyncio.run(main(arguments.rounds, arguments.seconds))
