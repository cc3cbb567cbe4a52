"""The questions of the audit log."""

from __future__ import annotations

from dataclasses import dataclass

from embedq_tui.live.questions import CONTROL, PROVIDER, TASKS, WORKERS, Question
from embedq_tui.screens.audit.roll import PAGE, AuditRoll
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.audit import AuditFilter, AuditPage, audit_page
from embedq_worker.queue.selection import Cursor

READ_S = 60.0
"""Seconds for a page of the log, the first one too: with a filter on a rare text, all of it is read."""


@dataclass(frozen=True, eq=False)
class FollowLog(Question[int]):
    """New rows of the log, added to the roll directly, so that an interrupted read loses nothing."""

    roll: AuditRoll
    hears = frozenset({TASKS, WORKERS, CONTROL, PROVIDER})
    every_s = 2.0
    within_s = READ_S

    async def ask(self, connection: Connection, settings: Settings) -> int:
        """Ask it once."""
        return await self.roll.look(connection)


@dataclass(frozen=True)
class OnePage(Question[AuditPage]):
    """A page of the log, newest rows first."""

    wanted: AuditFilter
    after: Cursor | None
    within_s = READ_S

    async def ask(self, connection: Connection, settings: Settings) -> AuditPage:
        """Ask it once."""
        return await audit_page(connection, self.wanted, limit=5 * PAGE, after=self.after)


@dataclass(frozen=True, eq=False)
class OlderRows(Question[int]):
    """The page before the rows shown, added to the roll."""

    roll: AuditRoll
    within_s = READ_S

    async def ask(self, connection: Connection, settings: Settings) -> int:
        """Ask it once."""
        return await self.roll.read_older(connection)
