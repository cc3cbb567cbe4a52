"""The questions of the screen of failures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from embedq_tui.live.questions import Question
from embedq_tui.screens.failures.render import LONGEST, TREND
from embedq_worker.database.connections import Connection
from embedq_worker.insights.failures import (
    Failures,
    GroupCursor,
    Trends,
    failures,
    group_trends,
)
from embedq_worker.insights.tasks import TaskPage, list_tasks
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.settings import Settings

PAGE = 100
"""Groups per page."""

NEWEST = 10
"""Tasks to list of the group under the cursor."""


@dataclass(frozen=True)
class Groups(Question[Failures]):
    """A page of groups, largest first."""

    pause_s: ClassVar[float] = 1.0

    after: GroupCursor | None = None

    async def ask(self, connection: Connection, settings: Settings) -> Failures:
        """Ask it once."""
        return await failures(connection, limit=PAGE, after=self.after, longest=LONGEST + 1)


@dataclass(frozen=True)
class NewestOf(Question[TaskPage]):
    """The newest tasks of a group.

    Attributes:
        group: Its fingerprint.
    """

    group: str
    pause_s: ClassVar[float] = 1.0

    async def ask(self, connection: Connection, settings: Settings) -> TaskPage:
        """Ask it once."""
        return await list_tasks(connection, of_group(self.group), limit=NEWEST, longest=LONGEST + 1)


@dataclass(frozen=True)
class TrendsOf(Question[Trends]):
    """When the tasks of some groups failed.

    Attributes:
        groups: Their fingerprints.
        over: How far back from now.
    """

    groups: tuple[str, ...]
    over: timedelta
    pause_s: ClassVar[float] = 5.0
    every_s: ClassVar[float] = 30.0

    async def ask(self, connection: Connection, settings: Settings) -> Trends:
        """Ask it once."""
        return await group_trends(connection, self.groups, over=self.over, bars=TREND)


def of_group(fingerprint: str) -> TaskFilter:
    """The tasks of a group."""
    return TaskFilter(statuses=("failed",), group=fingerprint)
