"""Offering to bring the schema up to date, from any screen."""

from __future__ import annotations

from collections.abc import Sequence

from embedq_tui.desk import Desk
from embedq_tui.dialogs.confirm import Confirmation, Decision
from embedq_tui.dialogs.outcome import Report
from embedq_tui.dialogs.running import Progress
from embedq_tui.rendering.words import count
from embedq_tui.screens.settings.questions import ToApply
from embedq_worker.schema import migrations
from embedq_worker.schema.state import MigrationState

NAMED = 6
"""Number of migrations that the question lists."""

TOLD = 10
"""Number of progress lines to show."""


async def offer_migrations(desk: Desk) -> None:
    """Offer to apply missing migrations. Call it in a Textual worker.

    Args:
        desk: Of the database.
    """
    dialogs = desk.dialogs
    looking = Progress("Checking the schema", stop="Cancel")
    states = await dialogs.attempt(looking, lambda: desk.session.ask(ToApply()))
    if states is None:
        return
    missing = [state for state in states if state.state == "pending"]
    foreign = [state for state in states if state.state in ("unknown", "changed")]
    if foreign:
        await dialogs.tell(_refusal(foreign))
    elif not missing:
        dialogs.notify("The schema is up to date")
    elif await dialogs.confirm(_confirmation(states, missing)) is Decision.YES:
        await _apply(desk, missing)


async def _apply(desk: Desk, missing: Sequence[MigrationState]) -> None:
    dialogs, lines = desk.dialogs, list[str]()
    progress = Progress(f"Applying {count(len(missing), 'migration')}", len(missing), noun="migration")

    def report(line: str) -> None:
        lines.append(line)
        progress.lines = lines[-TOLD:]

    async def run() -> list[int]:
        return await migrations.up(
            desk.session.settings, report, applied_one=lambda _: progress.reached(progress.done + 1)
        )

    applied = await dialogs.attempt(progress, run)
    desk.session.again()
    if applied is not None:
        dialogs.notify(f"{count(len(applied), 'migration')} applied: the schema is up to date")
    elif progress.stopping:
        title = f"Stopped: {progress.done:,} of {count(len(missing), 'migration')} applied"
        await dialogs.tell(Report(title, [*lines[-TOLD:], "Migrate again to continue."]))


def _confirmation(states: Sequence[MigrationState], missing: Sequence[MigrationState]) -> Confirmation:
    lines = [f"  {state.version:03} {state.name}" for state in missing[:NAMED]]
    if len(missing) > NAMED:
        lines.append(f"  and {len(missing) - NAMED} more")
    lines += [
        "Other programs can keep reading and writing. Existing data is kept.",
        "You can stop at any time and continue later. To undo: embedq-tui migrate rollback.",
    ]
    title = f"Apply {count(len(missing), 'missing migration')} (of {len(states)})?"
    return Confirmation(title, lines, f"Apply {len(missing)}")


def _refusal(foreign: Sequence[MigrationState]) -> Report:
    newer = any(state.state == "unknown" for state in foreign)
    title = (
        "This schema was created by a newer embedq; this version cannot change it"
        if newer
        else "This schema was created from different migration files; it will not be changed"
    )
    rows = [
        (f"{state.version:03} {state.name}", f"applied by embedq {state.program or 'unknown'}")
        for state in foreign
    ]
    return Report(title, ["For advice run: embedq-tui migrate verify"], rows, bad=True)
