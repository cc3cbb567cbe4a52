"""A great many tasks through workers that embed nothing: memory, dead rows, claims and rate over time.

A transaction that does nothing is open while the second third of the tasks is done: what is finished then
cannot be vacuumed away. The counting triggers are on, as always.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from statistics import mean, median
from time import perf_counter

import asyncpg
import psutil

from bench.provider import running
from bench.scratch import scratch_database
from bench.server import server
from embedq_worker.configuration.settings import Settings
from embedq_worker.queue.counts import count_drift

DIMENSIONS = 8
EVERY_S = 5.0
PHASES = ("before", "a transaction is open", "after it has ended")

_QUEUED = """
WITH made AS (
    INSERT INTO articles (title, slug, content)
    SELECT 'Note ' || i, 'note-' || i, 'The ' || i || '. note tells of ' || md5(i::text) || '.'
    FROM generate_series($1::int, $2::int) AS i RETURNING id, slug)
INSERT INTO embedding_tasks (id, article_id, slug, operation)
SELECT embedq_uuid(), id, slug, 'create' FROM made"""

_FINISHED = """
INSERT INTO embedding_tasks (id, slug, operation, status, attempts, created_at, scheduled_at, processed_at,
                             completed_at)
SELECT embedq_uuid(), 'finished', 'update', 'completed', 1, at, at, at, at
FROM (SELECT now() - i * interval '10 ms' AS at FROM generate_series($1::int, $2::int) AS i) AS moments"""

_LOOK = """
SELECT (SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'embedding_tasks'::regclass) AS dead,
       (SELECT autovacuum_count FROM pg_stat_user_tables
        WHERE relid = 'embedding_tasks'::regclass) AS vacuums,
       pg_total_relation_size('embedding_tasks') / 1048576.0 AS mb,
       (SELECT coalesce(sum(n), 0)::int - $1::int FROM embedq_live_counts
        WHERE status = 'completed') AS completed,
       (SELECT avg(value)::float8 FROM performance_metrics WHERE metric_type = 'database_query_time'
          AND timestamp > now() - interval '15 seconds') AS claim_ms"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look.

    Attributes:
        at_s: Since the workers were started.
        phase: One of `PHASES`.
        completed: Tasks.
        dead: Dead rows of the queue table, as the statistics have it.
        vacuums: Autovacuums of it so far.
        mb: Its size with its indexes.
        claim_ms: Mean of a claim lately; None where no worker has said.
        memory_mb: Of each worker: resident, in the order in which they were started.
    """

    at_s: float
    phase: str
    completed: int
    dead: int
    vacuums: int
    mb: float
    claim_ms: float | None
    memory_mb: list[float]


@asynccontextmanager
async def _worker(settings: Settings, provider: str, batch_size: int) -> AsyncIterator[Process]:
    assert settings.database_url is not None
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "embedq_worker", "--drain", "--log-level", "warn"),
        *("--concurrency", "1", "--batch-size", str(batch_size)),
        stdin=DEVNULL,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "EMBEDDING_PROVIDER": "openai",
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": provider,
            "EMBEDDING_MODEL": "noop",
            "EMBEDDING_DIMENSIONS": str(DIMENSIONS),
            "EMBEDDING_QUEUE_METRICS_INTERVAL": "10000",
        },
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _watch(
    settings: Settings, workers: Sequence[Process], tasks: int, finished: int, limit_s: float
) -> list[Sample]:
    """Look now and then until the workers have ended or the time is over; holds the open transaction."""
    arguments = settings.connect_arguments()
    connection = await asyncpg.connect(**arguments)
    old = await asyncpg.connect(**arguments)
    samples: list[Sample] = []
    phase, began = PHASES[0], perf_counter()
    while any(worker.returncode is None for worker in workers) and perf_counter() - began < limit_s:
        row = await connection.fetchrow(_LOOK, finished)
        assert row is not None
        samples.append(Sample(perf_counter() - began, phase, memory_mb=_memory(workers), **row))
        if phase == PHASES[0] and row["completed"] > tasks / 3:
            await old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM embedq_control")
            phase = PHASES[1]
        elif phase == PHASES[1] and row["completed"] > tasks * 2 / 3:
            await old.execute("ROLLBACK")
            phase = PHASES[2]
        _tell(samples[-1])
        await asyncio.sleep(EVERY_S)
    await old.close()
    await connection.close()
    return samples


def _memory(workers: Sequence[Process]) -> list[float]:
    return [
        psutil.Process(worker.pid).memory_info().rss / 1_048_576
        for worker in workers
        if worker.returncode is None
    ]


def _tell(sample: Sample) -> None:
    claim = "" if sample.claim_ms is None else f"claim {sample.claim_ms:.1f} ms, "
    print(
        f"{sample.at_s:6.0f} s  {sample.completed:>9,} completed, {claim}{sample.dead:,} dead rows, "
        f"{sample.vacuums} vacuums, {sample.mb:.0f} MB; workers "
        + " ".join(f"{size:.0f}" for size in sample.memory_mb)
        + f" MB; {sample.phase}",
        flush=True,
    )


def _table(samples: Sequence[Sample]) -> str:
    lines = [
        "| | tasks/s | claim (mean) | dead tuples, max | table, indexes | autovacuums | memory of a worker |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for phase in PHASES:
        part = [sample for sample in samples if sample.phase == phase]
        if len(part) < 2:
            continue
        first, last = part[0], part[-1]
        rate = (last.completed - first.completed) / (last.at_s - first.at_s)
        claims = [sample.claim_ms for sample in part if sample.claim_ms is not None]
        memory = [size for sample in part for size in sample.memory_mb]
        lines.append(
            f"| {phase} | {rate:,.0f} | {mean(claims) if claims else 0:.1f} ms "
            f"| {max(sample.dead for sample in part):,} | {first.mb:,.0f} to {last.mb:,.0f} MB "
            f"| {last.vacuums - first.vacuums} | {median(memory):.0f} MB, {max(memory):.0f} at most |"
        )
    return "\n".join(lines)


async def main(
    tasks: int, workers: int, batch_size: int, minutes: float, *, finished: int, default: bool
) -> None:
    """Queue, start the workers, and watch them."""
    async with AsyncExitStack() as stack:
        settings = await stack.enter_async_context(scratch_database(DIMENSIONS))
        connection = await asyncpg.connect(**settings.connect_arguments())
        if default:
            await connection.execute(
                """ALTER TABLE embedding_tasks RESET (
                       autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,
                       autovacuum_analyze_scale_factor, autovacuum_analyze_threshold)"""
            )
        for statement, rows in ((_FINISHED, finished), (_QUEUED, tasks)):
            for first in range(1, rows + 1, 20_000):
                await connection.execute(statement, first, min(first + 19_999, rows))
        await connection.execute("VACUUM ANALYZE")
        print(f"{tasks:,} tasks are queued", flush=True)
        provider = await stack.enter_async_context(running(0, 0, DIMENSIONS))
        fleet = [
            await stack.enter_async_context(_worker(settings, provider, batch_size)) for _ in range(workers)
        ]
        samples = await _watch(settings, fleet, tasks, finished, minutes * 60)
        done = await connection.fetchval(
            "SELECT count(*) - $1 FROM embedding_tasks WHERE status = 'completed'", finished
        )
        drift = await count_drift(connection)
        await connection.close()
    print(f"\n{_table(samples)}\n")
    print(f"{done:,} of {tasks:,} tasks in {samples[-1].at_s:,.0f} s; counts that are wrong: {len(drift)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=45.0, help="at most")
    parser.add_argument("--finished", type=int, default=0, help="tasks that are there already, and done")
    parser.add_argument("--default", action="store_true", help="with PostgreSQL's own autovacuum settings")
    given = parser.parse_args()
    with server():
        asyncio.run(
            main(
                given.tasks,
                given.workers,
                given.batch_size,
                given.minutes,
                finished=given.finished,
                default=given.default,
            )
        )
