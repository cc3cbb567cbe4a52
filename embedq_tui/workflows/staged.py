"""Staged retry: 10 tasks, then 100, then the rest, as long as few of them fail again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from embedq_worker.actions.tasks import RETRY_NEXT, Run, carry_out
from embedq_worker.insights.tasks import statuses_of

STAGES = (10, 100)
"""Sizes of the first stages; the rest follows only if these succeed."""

TOLERATED = 0.1
"""Fraction of a stage that may fail again."""

STAGE_TIMEOUT_S = 600.0
LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Stage:
    """The state of a stage.

    Attributes:
        number: Counted from 1.
        tasks: Tasks retried in it.
        failed: Those that failed again.
        waiting: Those that have not ended yet.
        over: It is no longer waited for.
    """

    number: int
    tasks: int
    failed: int
    waiting: int
    over: bool

    @property
    def well(self) -> bool:
        """Whether it succeeded, so that the next one may begin."""
        return not self.waiting and self.failed <= TOLERATED * self.tasks


async def in_stages(run: Run, timeout_s: float, report: Callable[[Stage], None]) -> bool:
    """Retry in stages; the first ones go ahead of what is waiting, as a backlog may take hours.

    Args:
        run: The run of a retry.
        timeout_s: Seconds a stage may take to finish.
        report: Called with the stage at every look, the last time with `Stage.over`.

    Returns:
        False if a stage did not succeed; nothing was done after it.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    ahead = replace(run, planned=replace(run.planned, action=RETRY_NEXT))
    for number, size in enumerate(STAGES, 1):
        before = len(run.outcome.ids)
        await carry_out(ahead, limit=size)
        if not await _went_well(run, number, run.outcome.ids[before:], timeout_s, report):
            return False
        if run.outcome.changed >= run.planned.matched:
            return True
    await carry_out(run)
    return True


async def _went_well(
    run: Run, number: int, tasks: Sequence[UUID], timeout_s: float, report: Callable[[Stage], None]
) -> bool:
    """Wait for a stage to finish, and say whether it succeeded."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        now = await statuses_of(run.connection, tasks)
        waiting = now["pending"] + now["processing"]
        over = not waiting or loop.time() >= deadline
        stage = Stage(number, len(tasks), now["failed"], waiting, over)
        report(stage)
        if over:
            return stage.well
        await asyncio.sleep(LOOK_EVERY_S)
