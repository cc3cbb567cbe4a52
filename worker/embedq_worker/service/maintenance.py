"""Maintenance of the queue, by any worker but one at a time: rescuing tasks, folding counts, retention."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from uuid import UUID

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Pool
from embedq_worker.database.failures import EXPECTED_ERRORS, explained
from embedq_worker.errors import Unreachable
from embedq_worker.queue import fleet
from embedq_worker.queue.retention import RowsHeld, clean_up
from embedq_worker.service.logs import Log
from embedq_worker.service.metrics import WorkerMetrics

RESCUE_EVERY_S = 15.0
RESCUE_LIMIT = 500
DISOWN_AFTER_S = 30.0
FOLD_EVERY_S = 5.0
_FIRST_RETENTION_S = 60.0


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
        told = ""
        while True:
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - workers must not move in step
            pause_s = every_s
            try:
                await chore()
                told = ""
            except EXPECTED_ERRORS as error:
                failure = explained(error, self._settings)
                if isinstance(failure, Unreachable):  # which the heartbeat tells
                    self._away_at = monotonic()
                elif failure.message != told:  # once, not every five seconds of a night
                    told = failure.message
                    self._log.warning("maintenance failed", chore=chore.__name__.strip("_"), error=told)

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
        try:
            cleaned = await clean_up(self._pool, days=self._settings.cleanup_retention_days)
        except RowsHeld as held:
            self._log.warning("could not clean up everything", error=held.line)
            cleaned = held.cleaned
        if cleaned and (cleaned.tasks or cleaned.audit_rows or cleaned.metrics):
            self._log.info(
                "cleaned up", tasks=cleaned.tasks, audit=cleaned.audit_rows, metrics=cleaned.metrics
            )


async def rescue_all(pool: Pool, settings: Settings, log: Log) -> None:
    """Take back every orphaned or stuck task.

    Args:
        pool: To the migrated database.
        settings: When a worker is presumed dead, and a claim is stuck.
        log: Log of the worker.

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
