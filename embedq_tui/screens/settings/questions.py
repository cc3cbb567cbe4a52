"""The questions of the screen of settings."""

from __future__ import annotations

from dataclasses import dataclass

from embedq_tui.live.questions import Question
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.schema import migrations
from embedq_worker.schema.state import MigrationState, status


@dataclass(frozen=True)
class Schema(Question[list[MigrationState]]):
    """Every migration known to this program or to the database."""

    hears = frozenset()
    pause_s = 2.0
    every_s = 30.0

    async def ask(self, connection: Connection, settings: Settings) -> list[MigrationState]:
        """Ask it once."""
        return await status(connection)


class ToApply(Schema):
    """The same, but those whose columns or indexes were dropped since are pending."""

    async def ask(self, connection: Connection, settings: Settings) -> list[MigrationState]:
        """Ask it once; what is missing and cannot be put back is an error that says what to do."""
        return await migrations.to_apply(connection)
