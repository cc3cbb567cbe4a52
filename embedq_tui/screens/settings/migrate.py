"""The offer to bring the schema of the database up to date, from wherever its lack is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from embedq_tui.dialogs.confirm import Confirmation, Decision
from embedq_tui.dialogs.outcome import Report
from embedq_tui.dialogs.running import Progress
from embedq_tui.live.questions import Question
from embedq_tui.output import count
from embedq_worker.database.connections import Connection
from embedq_worker.schema import migrations
from embedq_worker.schema.migrations import MigrationState
from embedq_worker.settings import Settings

if TYPE_CHECKING:
    from embedq_tui.console.app import Console

NAMED = 6
"""Migrations that are named in the question."""

TOLD = 10
"""Lines of progress that are shown, the last ones."""


@dataclass(frozen=True)
class Schema(Question[list[MigrationState]]):
    """Every version that this program or the database knows."""

    hears: ClassVar[frozenset[str]] = frozenset()
    pause_s: ClassVar[float] = 2.0
    every_s: ClassVar[float] = 30.0

    async def ask(self, connection: Connection, settings: Settings) -> list[MigrationState]:
        """Ask it once."""
        return await migrations.status(connection)


async def offer_migrations(app: Console) -> bool:
    """Offer to apply what is missing, after a question. Call it in a worker of Textual.

    Args:
        app: Its database is meant.

    Returns:
        Whether the schema is up to date now.
    """
    dialogs = app.dialogs
    looking = Progress("Looking at the schema", stop="Leave it")
    states = await dialogs.attempt(looking, lambda _: app.session.ask(Schema()))
    if states is None:
        return False
    missing = [state for state in states if state.state == "pending"]
    foreign = [state for state in states if state.state in ("unknown", "changed")]
    if foreign:
        await dialogs.tell(_refusal(foreign))
        return False
    if not missing:
        dialogs.notify("The schema is up to date")
        return True
    if await dialogs.confirm(_confirmation(states, missing)) is not Decision.YES:
        return False
    return await _apply(app, missing)


async def _apply(app: Console, missing: Sequence[MigrationState]) -> bool:
    dialogs, lines = app.dialogs, list[str]()
    progress = Progress(f"Applying {count(len(missing), 'migration')}", len(missing), noun="migration")

    def told(line: str) -> None:
        lines.append(line)
        progress.lines = lines[-TOLD:]

    async def run(progress: Progress) -> list[int]:
        return await migrations.up(
            app.session.settings, told, applied_one=lambda _: progress.reached(progress.done + 1)
        )

    applied = await dialogs.attempt(progress, run)
    app.session.again()
    if applied is not None:
        dialogs.notify(f"{count(len(applied), 'migration')} applied: the schema is up to date")
        return True
    if progress.stopping:
        told_so_far = f"Stopped: {progress.done:,} of {count(len(missing), 'migration')} applied"
        await dialogs.tell(Report(told_so_far, [*lines[-TOLD:], "Run them again to go on."]))
    return False


def _confirmation(states: Sequence[MigrationState], missing: Sequence[MigrationState]) -> Confirmation:
    lines = [f"  {state.version:03} {state.name}" for state in missing[:NAMED]]
    if len(missing) > NAMED:
        lines.append(f"  and {len(missing) - NAMED} more")
    lines += [
        "Other programs go on reading and writing meanwhile; what is there stays.",
        "It can be stopped, and run again to go on. embedq-tui migrate rollback takes it back.",
    ]
    title = f"Apply {len(missing)} of {count(len(states), 'migration')}, which are missing here?"
    return Confirmation(title, lines, f"Apply {len(missing)}")


def _refusal(foreign: Sequence[MigrationState]) -> Report:
    newer = any(state.state == "unknown" for state in foreign)
    title = (
        "The schema was made by a newer embedq: this one cannot change it"
        if newer
        else "The schema was made from files with other contents: it is not touched"
    )
    rows = [
        (f"{state.version:03} {state.name}", f"applied by embedq {state.program or 'unknown'}")
        for state in foreign
    ]
    return Report(title, ["embedq-tui migrate verify tells what can be done."], rows, bad=True)
