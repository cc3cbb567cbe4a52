"""Retrying in stages: 10 tasks, then 100, then the rest, while it goes well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from embedq_worker.actions.tasks import Run, carry_out
from embedq_worker.insights.tasks import statuses_of

STAGES = (10, 100)
"""Tasks retried at first, and then; the rest only when these went well."""

TOLERATED = 0.1
"""Share of a stage that may fail again."""

STAGE_TIMEOUT_S = 600.0
LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Stage:
    """How a stage stands.

    Attributes:
        number: From 1 on.
        tasks: Retried in it.
        failed: Of these, failed again.
        waiting: Of these, not ended yet.
        over: Nobody waits for it any more.
    """

    number: int
    tasks: int
    failed: int
    waiting: int
    over: bool

    @property
    def well(self) -> bool:
        """Whether it went so that the next one may follow."""
        return not self.waiting and self.failed <= TOLERATED * self.tasks


async def in_stages(run: Run, timeout_s: float, told: Callable[[Stage], None]) -> bool:
    """Retry in stages.

    Args:
        run: Of a retry.
        timeout_s: Seconds that a stage may take to end.
        told: Hears of a stage each time it is looked at, the last time with `Stage.over`.

    Returns:
        False where a stage did not go well; nothing was done after it.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    for number, size in enumerate(STAGES, 1):
        before = len(run.outcome.ids)
        await carry_out(run, limit=size)
        if not await _went_well(run, number, run.outcome.ids[before:], timeout_s, told):
            return False
        if run.outcome.changed >= run.planned.matched:
            return True
    await carry_out(run)
    return True


async def _went_well(
    run: Run, number: int, tasks: Sequence[UUID], timeout_s: float, told: Callable[[Stage], None]
) -> bool:
    """Wait for the end of a stage."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        now = await statuses_of(run.connection, tasks)
        waiting = now["pending"] + now["processing"]
        over = not waiting or loop.time() >= deadline
        stage = Stage(number, len(tasks), now["failed"], waiting, over)
        told(stage)
        if over:
            return stage.well
        await asyncio.sleep(LOOK_EVERY_S)
