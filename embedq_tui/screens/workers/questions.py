"""The question of the screen of workers; Overview has it too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from embedq_tui.live.questions import TASKS, WORKERS, Question
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.deaths import DeadWorker, deaths

Dead: TypeAlias = tuple[DeadWorker, ...]


@dataclass(frozen=True)
class Deaths(Question[Dead]):
    """The workers that died lately."""

    hears = frozenset({TASKS, WORKERS})
    pause_s = 2.0

    async def ask(self, connection: Connection, settings: Settings) -> Dead:
        """Ask it once."""
        return await deaths(connection)
