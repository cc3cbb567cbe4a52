"""Workers that were told to exit: wait for them; free what those that do not answer hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from embedq_worker.actions import orders
from embedq_worker.actions.orders import AskedWorker
from embedq_worker.actions.tasks import RELEASE, Run, carry_out, plan
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.queue import fleet
from embedq_worker.queue.wanted import TaskFilter

FORCED_S = 10.0
"""Seconds a forced worker gets to react, on top of the time the order takes to reach it."""

LOOK_EVERY_S = 0.1

Reached = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """The outcome of a stop.

    Attributes:
        workers: Those that were asked to shut down.
        taken_back: Number of tasks released into the queue.
    """

    workers: Sequence[AskedWorker]
    taken_back: int = 0

    @property
    def left(self) -> int:
        """Number of workers that have not ended."""
        return sum(not worker.ended for worker in self.workers)


async def wait_for(
    connection: Connection, settings: Settings, asked: Sequence[UUID], timeout_s: float, reached: Reached
) -> Ended:
    """Wait for workers to end; those without a heartbeat are not waited for.

    Args:
        connection: To the migrated database.
        settings: When a worker is presumed dead.
        asked: Workers that were told to exit.
        timeout_s: Maximum seconds to wait.
        reached: Called with the number of those that have ended.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        workers = await orders.asked_workers(connection, asked, dead_s=settings.dead_after_s)
        reached(sum(worker.ended for worker in workers))
        if all(worker.ended or worker.silent for worker in workers) or loop.time() >= deadline:
            return Ended(workers)
        await asyncio.sleep(LOOK_EVERY_S)


async def free(
    connection: Connection,
    settings: Settings,
    asked: Sequence[UUID],
    held: TaskFilter,
    *,
    by: str,
    timeout_s: float,
    reached: Reached,
) -> Ended:
    """Release what workers hold, and declare dead those that do not end in time.

    Args:
        connection: To the migrated database.
        settings: When a worker is presumed dead.
        asked: Workers that were told to exit at once.
        held: Tasks to release.
        by: Operator as ``user@host``.
        timeout_s: Maximum seconds to wait for the workers.
        reached: Called with the number of those that have ended.
    """
    taken = await _release(connection, held, by)
    workers = (await wait_for(connection, settings, asked, timeout_s, reached)).workers
    left = [worker.id for worker in workers if not worker.ended]
    if left:
        await fleet.declare_dead(connection, left, "did not answer a forced stop")
        workers = await orders.asked_workers(connection, asked, dead_s=settings.dead_after_s)
    taken += await _release(connection, held, by)  # tasks that were being claimed when the order came
    return Ended(workers, taken)


async def _release(connection: Connection, held: TaskFilter, by: str) -> int:
    return (await carry_out(Run(connection, await plan(connection, RELEASE, held), by))).changed
