"""`embedq-tui cleanup`: delete data older than the retention period."""

from __future__ import annotations

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, Number, operator, operator_command
from embedq_tui.commands.output import SoFar, confirm, print_json, progress, say
from embedq_tui.rendering.outcomes import cleaned_words
from embedq_tui.rendering.words import count
from embedq_tui.workflows.cleaning import clean
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError, ExitCode
from embedq_worker.process.running import run
from embedq_worker.queue.retention import Cleaned, RowsHeld, count_expired
from embedq_worker.schema.state import require_current


@click.command("cleanup", epilog="Example: embedq-tui cleanup --days 90 --yes")
@click.option(
    "--days",
    type=Number(1, 36_500),
    metavar="N",
    help="Delete what is older.  [default: EMBEDDING_CLEANUP_RETENTION_DAYS]",
)
@click.option("--yes", is_flag=True, help="Skip the confirmation.")
@operator_command
def command(invocation: Invocation, days: int | None, yes: bool) -> ExitCode:
    """Delete completed tasks, audit rows, metrics and ended workers older than the retention period.

    Running workers do this by themselves every EMBEDDING_CLEANUP_INTERVAL. Failed tasks are kept. Exits 0 if
    there was nothing to delete.
    """
    settings = invocation.settings()
    days = settings.cleanup_retention_days if days is None else days
    found = ask(settings, lambda connection: _count(connection, days))
    state, so_far = "nothing", SoFar(Cleaned(0, 0, 0, 0))
    if not invocation.as_json:
        say(f"Older than {count(days, 'day')}: {cleaned_words(found)}")
    if found.total:
        if not yes and not confirm(f"Delete {cleaned_words(found)}?"):
            state = "refused"
        else:
            try:
                state = "done" if run(_clean(settings, days, found, so_far)) else "busy"
            except RowsHeld as held:
                _report(invocation, days, "held", found, held.cleaned)
                raise
            except (KeyboardInterrupt, EmbedqError):
                if so_far.value.total:
                    _report(invocation, days, "interrupted", found, so_far.value)
                raise
    _report(invocation, days, state, found, so_far.value)
    return ExitCode.NO if state == "refused" else ExitCode.OK


def _report(invocation: Invocation, days: int, state: str, found: Cleaned, deleted: Cleaned) -> None:
    if invocation.as_json:
        print_json({"days": days, "state": state, "found": found, "deleted": deleted})
    elif state == "refused":
        say("Nothing was deleted.")
    elif state == "busy":
        say("A worker is running the cleanup already; nothing was deleted here.")
    elif state == "interrupted":
        say(f"Interrupted. Deleted: {cleaned_words(deleted)}; run it again to resume", error=True)
    elif found.total:
        say(f"Deleted: {cleaned_words(deleted)}")


async def _count(connection: Connection, days: int) -> Cleaned:
    await require_current(connection)
    return await count_expired(connection, days=days)


async def _clean(settings: Settings, days: int, found: Cleaned, so_far: SoFar[Cleaned]) -> Cleaned | None:
    with progress("Rows deleted", found.total) as bar:

        def report(deleted: Cleaned) -> None:
            so_far.value = deleted
            bar.reached(deleted.total)

        return await clean(settings, days, found, operator(), report)
