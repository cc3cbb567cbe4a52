"""The questions of the list of tasks, and of the details of one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from uuid import UUID

from embedq_tui.live.questions import Question
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.detail import TaskDetail, task_detail
from embedq_worker.insights.tasks import TaskPage, list_tasks
from embedq_worker.queue.selection import Cursor, Order, count_tasks, select
from embedq_worker.queue.wanted import TaskFilter

PAGE = 100
"""Tasks per page."""

LONGEST = 300
"""Characters to fetch of an error in the list."""

COUNT_S = 2.0
"""Seconds counting may take; a slower count is not repeated."""

SHOWN = 200_000
"""Characters to fetch of an error or a stack trace in the details of a task."""

EXPORTED = 1_000
"""Tasks per page of an export."""


@dataclass(slots=True)
class Kept:
    """Tasks already shown: they stay as long as they match, even if they would now sort onto another page."""

    ids: Collection[UUID] = ()


@dataclass(frozen=True)
class TaskList(Question[TaskPage]):
    """A page of tasks, plus those to keep."""

    pause_s = 0.25

    wanted: TaskFilter
    direction: Order
    after: Cursor | None
    kept: Kept = field(default_factory=Kept, compare=False)

    async def ask(self, connection: Connection, settings: Settings) -> TaskPage:
        """Ask it once."""
        page = await list_tasks(
            connection, self.wanted, limit=PAGE, after=self.after, direction=self.direction, longest=LONGEST
        )
        found = {task.id for task in page.tasks}
        missing = [task for task in self.kept.ids if task not in found]
        if not missing:
            return page
        among = replace(self.wanted, ids=tuple(missing))
        more = await list_tasks(connection, among, limit=len(missing), longest=LONGEST)
        return page._replace(tasks=(*page.tasks, *more.tasks))


@dataclass(frozen=True)
class Matching(Question[int | None]):
    """The number of matching tasks; None if counting takes too long."""

    pause_s = 1.0
    every_s = 15.0

    wanted: TaskFilter

    async def ask(self, connection: Connection, settings: Settings) -> int | None:
        """Ask it once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(COUNT_S):
                return await count_tasks(connection, self.wanted, await select(connection, self.wanted))
        return None


@dataclass(frozen=True)
class Exported(Question[TaskPage]):
    """A page of an export, with complete errors."""

    within_s = 600.0

    wanted: TaskFilter
    direction: Order
    after: Cursor | None

    async def ask(self, connection: Connection, settings: Settings) -> TaskPage:
        """Ask it once."""
        return await list_tasks(
            connection, self.wanted, limit=EXPORTED, after=self.after, direction=self.direction
        )


@dataclass(frozen=True)
class Detail(Question[TaskDetail | None]):
    """Everything known about a task; None if it does not exist."""

    task: UUID
    pause_s = 0.3

    async def ask(self, connection: Connection, settings: Settings) -> TaskDetail | None:
        """Ask it once."""
        return await task_detail(connection, settings, self.task, longest=SHOWN)
