"""Maintenance of the queue, by any worker but one at a time: rescuing tasks, folding counts, retention."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from time import monotonic
from uuid import UUID

import asyncpg

from embedq_worker.database.connections import Connection, Pool
from embedq_worker.database.failures import EXPECTED_ERRORS, explained
from embedq_worker.errors import Unreachable
from embedq_worker.logs import Log
from embedq_worker.queue import fleet, operator_log
from embedq_worker.queue.counts import COUNTING_S
from embedq_worker.service.metrics import WorkerMetrics
from embedq_worker.settings import Settings

RESCUE_EVERY_S = 15.0
RESCUE_LIMIT = 500
DISOWN_AFTER_S = 30.0
FOLD_EVERY_S = 5.0
RETENTION_BATCH = 5_000
RETENTION_PAUSE_S = 0.2
RETENTION_LOCK = 1_701_667_442
_FIRST_RETENTION_S = 60.0

# now(), not clock_timestamp(): only a stable expression can bound an index scan.
_RETENTION = (
    """DELETE FROM embedding_tasks WHERE id = ANY (ARRAY(
           SELECT id FROM embedding_tasks
           WHERE status = 'completed' AND completed_at < now() - $1 * interval '1 day'
           ORDER BY completed_at LIMIT $2 FOR UPDATE SKIP LOCKED))""",
    """DELETE FROM embedding_audit_logs WHERE id = ANY (ARRAY(
           SELECT id FROM embedding_audit_logs
           WHERE timestamp < now() - $1 * interval '1 day' ORDER BY timestamp LIMIT $2))""",
    """DELETE FROM performance_metrics WHERE id = ANY (ARRAY(
           SELECT id FROM performance_metrics
           WHERE timestamp < now() - $1 * interval '1 day' ORDER BY timestamp LIMIT $2))""",
    """DELETE FROM embedq_workers WHERE id = ANY (ARRAY(
           SELECT id FROM embedq_workers
           WHERE state IN ('stopped', 'dead') AND stopped_at < now() - $1 * interval '1 day'
           LIMIT $2))""",
)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Rows that retention deleted."""

    tasks: int
    audit_rows: int
    metrics: int
    workers: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.tasks + self.audit_rows + self.metrics + self.workers


_EXPIRED = """
SELECT (SELECT count(*) FROM embedding_tasks
        WHERE status = 'completed' AND completed_at < now() - $1 * interval '1 day') AS tasks,
       (SELECT count(*) FROM embedding_audit_logs
        WHERE timestamp < now() - $1 * interval '1 day') AS audit_rows,
       (SELECT count(*) FROM performance_metrics WHERE timestamp < now() - $1 * interval '1 day') AS metrics,
       (SELECT count(*) FROM embedq_workers
        WHERE state IN ('stopped', 'dead') AND stopped_at < now() - $1 * interval '1 day') AS workers
"""


async def count_expired(connection: Connection, *, days: int) -> Cleaned:
    """Count what `clean_up` would delete.

    Args:
        connection: To the migrated database.
        days: Minimum age in days.
    """
    row = await connection.fetchrow(_EXPIRED, days, timeout=COUNTING_S)
    assert row is not None
    return Cleaned(**row)


async def note_cleanup(connection: Connection, *, days: int, found: Cleaned, by: str) -> None:
    """Note in the audit log that an operator cleans up.

    Args:
        connection: To the migrated database.
        days: Minimum age in days.
        found: What is about to be deleted.
        by: Operator as ``user@host``.
    """
    await operator_log.note(connection, "cleanup", by, days=days, count=found.total, **asdict(found))


async def clean_up(
    pool: Pool,
    *,
    days: int,
    pause_s: float = RETENTION_PAUSE_S,
    progress: Callable[[Cleaned], None] = lambda deleted: None,
) -> Cleaned | None:
    """Delete completed tasks, audit rows, metrics and ended workers past the retention.

    Args:
        pool: To the migrated database.
        days: Minimum age in days.
        pause_s: Seconds between two batches, so that others get their turn.
        progress: Called after each batch with what is deleted so far.

    Returns:
        What was deleted. If another session is cleaning up, this ends early: None if nothing was deleted.

    Raises:
        One of `failures.EXPECTED_ERRORS`: earlier batches stay deleted. If another program's table references
            rows to be deleted, that error is raised after everything else has been deleted.
    """
    counts = [0] * len(_RETENTION)
    kept: asyncpg.ForeignKeyViolationError | None = None
    for number, statement in enumerate(_RETENTION):
        while True:
            try:
                deleted = await _delete_batch(pool, statement, days)
            except asyncpg.ForeignKeyViolationError as error:
                kept = error  # another program's table references these rows; go on with the other tables
                break
            if deleted is None:
                return Cleaned(*counts) if any(counts) else None
            counts[number] += deleted
            progress(Cleaned(*counts))
            if deleted < RETENTION_BATCH:
                break
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
    if kept:
        raise kept
    return Cleaned(*counts)


async def _delete_batch(pool: Pool, statement: str, days: int) -> int | None:
    """Number of rows deleted; None if another session is cleaning up."""
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1, -5)", RETENTION_LOCK):
            return None
        await connection.execute(
            "SELECT set_config('embedq.quiet', 'on', true), set_config('enable_seqscan', 'off', true)"
        )
        return int((await connection.execute(statement, days, RETENTION_BATCH)).split()[-1])


class Maintenance:
    """The maintenance of one worker; each chore has its own interval.

    Args:
        pool: To the migrated database.
        settings: Intervals and ages.
        worker: Its id.
        in_hand: Returns the tasks the worker holds.
        metrics: Written at their interval.
        log: Log of the worker.
    """

    def __init__(
        self,
        pool: Pool,
        settings: Settings,
        worker: UUID,
        in_hand: Callable[[], Iterable[UUID]],
        metrics: WorkerMetrics,
        log: Log,
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._worker = worker
        self._in_hand = in_hand
        self._metrics = metrics
        self._log = log
        self._away_at = -math.inf

    async def run(self) -> None:
        """Run the chores until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self._rescue, RESCUE_EVERY_S))
            group.create_task(self._repeat(self._fold, FOLD_EVERY_S))
            group.create_task(self._repeat(self._sample, self._settings.metrics_interval_ms / 1000))
            group.create_task(
                self._repeat(
                    self._retain, self._settings.cleanup_interval_h * 3600, first_s=_FIRST_RETENTION_S
                )
            )

    async def _repeat(
        self, chore: Callable[[], Awaitable[None]], every_s: float, first_s: float | None = None
    ) -> None:
        pause_s = every_s if first_s is None else min(first_s, every_s)
        while True:
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - workers must not move in step
            pause_s = every_s
            try:
                await chore()
            except EXPECTED_ERRORS as error:
                failure = explained(error, self._settings)
                if isinstance(failure, Unreachable):
                    self._away_at = monotonic()
                self._log.warning(
                    "maintenance failed", chore=chore.__name__.strip("_"), error=failure.message
                )

    async def _rescue(self) -> None:
        disowned = await fleet.disown(self._pool, self._worker, self._in_hand(), older_s=DISOWN_AFTER_S)
        if disowned:
            self._log.warning("returned claims whose response was lost", tasks=disowned)
        # No worker could beat while the database was unreachable: wait before declaring others dead.
        steady = monotonic() - self._away_at > self._settings.dead_after_s
        if self._settings.stuck_cleanup_enabled and steady:
            await rescue_all(self._pool, self._settings, self._log)

    async def _fold(self) -> None:
        await self._pool.execute("SELECT embedq_fold_counts(true)")

    async def _sample(self) -> None:
        await self._metrics.write(self._pool)

    async def _retain(self) -> None:
        cleaned = await clean_up(self._pool, days=self._settings.cleanup_retention_days)
        if cleaned and (cleaned.tasks or cleaned.audit_rows or cleaned.metrics):
            self._log.info(
                "cleaned up", tasks=cleaned.tasks, audit=cleaned.audit_rows, metrics=cleaned.metrics
            )


async def rescue_all(pool: Pool, settings: Settings, log: Log) -> int:
    """Take back every orphaned or stuck task.

    Args:
        pool: To the migrated database.
        settings: When a worker is presumed dead, and a claim is stuck.
        log: Log of the worker.

    Returns:
        How many were taken back.

    Raises:
        One of `failures.EXPECTED_ERRORS`.
    """
    total = 0
    while True:
        rescued = await fleet.rescue(
            pool,
            dead_s=settings.dead_after_s,
            stuck_s=settings.max_processing_time_ms / 1000,
            limit=RESCUE_LIMIT,
        )
        total += len(rescued)
        if len(rescued) < RESCUE_LIMIT:
            break
    if total:
        log.warning("stuck tasks taken back", tasks=total)
    return total
