"""The question of the screen of stuck tasks."""

from __future__ import annotations

from dataclasses import dataclass

from embedq_tui.live.questions import TASKS, WORKERS, Question
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.stuck import StuckTasks, stuck
from embedq_worker.queue.wanted import Stuck

SHOWN = 200
"""Maximum number of tasks in the table, oldest claims first; the actions on all are not limited by it."""


@dataclass(frozen=True)
class WhatIsStuck(Question[StuckTasks]):
    """The oldest stuck tasks, and how many each worker holds.

    Attributes:
        by: The definition of stuck.
        limit: Maximum number of tasks.
    """

    by: Stuck
    limit: int = SHOWN
    hears = frozenset({TASKS, WORKERS})
    every_s = 5.0

    async def ask(self, connection: Connection, settings: Settings) -> StuckTasks:
        """Ask it once."""
        return await stuck(connection, settings, limit=self.limit, by=self.by)
