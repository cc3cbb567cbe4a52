"""The questions of the screen of failures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from embedq_tui.live.questions import Question
from embedq_tui.screens.failures.render import LONGEST, TREND
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.failures import (
    Failures,
    FolderCount,
    GroupCursor,
    Trends,
    failures,
    group_folders,
    group_trends,
)
from embedq_worker.insights.tasks import TaskRow, list_tasks
from embedq_worker.queue.wanted import TaskFilter

PAGE = 100
"""Groups per page."""

NEWEST = 10
"""Tasks to list of the group under the cursor."""


@dataclass(frozen=True)
class Groups(Question[Failures]):
    """A page of groups, largest first, or those that failed last."""

    pause_s = 1.0

    after: GroupCursor | None = None
    latest: bool = False

    async def ask(self, connection: Connection, settings: Settings) -> Failures:
        """Ask it once."""
        return await failures(
            connection, limit=PAGE, after=self.after, latest=self.latest, longest=LONGEST + 1
        )


class InGroup(NamedTuple):
    """What a group consists of: its newest tasks, and where more of them are."""

    tasks: tuple[TaskRow, ...]
    folders: tuple[FolderCount, ...]


@dataclass(frozen=True)
class NewestOf(Question[InGroup]):
    """The newest tasks of a group, and the folders of more of them.

    Attributes:
        group: Its fingerprint.
    """

    group: str
    pause_s = 1.0

    async def ask(self, connection: Connection, settings: Settings) -> InGroup:
        """Ask it once."""
        page = await list_tasks(connection, of_group(self.group), limit=NEWEST, longest=LONGEST + 1)
        folders = await group_folders(connection, (self.group,))
        return InGroup(page.tasks, folders.get(self.group, ()))


@dataclass(frozen=True)
class TrendsOf(Question[Trends]):
    """When the tasks of some groups failed.

    Attributes:
        groups: Their fingerprints.
        over: How far back from now.
    """

    groups: tuple[str, ...]
    over: timedelta
    pause_s = 5.0
    every_s = 30.0

    async def ask(self, connection: Connection, settings: Settings) -> Trends:
        """Ask it once."""
        return await group_trends(connection, self.groups, over=self.over, bars=TREND)


def of_group(fingerprint: str) -> TaskFilter:
    """The tasks of a group."""
    return TaskFilter(statuses=("failed",), group=fingerprint)
