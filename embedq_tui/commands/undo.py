"""`embedq-tui undo`: undo a cancellation or a change of priority."""

from __future__ import annotations

from uuid import UUID

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, operator, operator_command
from embedq_tui.commands.output import SoFar, print_json, say
from embedq_tui.rendering.words import count
from embedq_worker.actions.undo import Undone, undo
from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError, ExitCode
from embedq_worker.schema.state import require_current


@click.command("undo", epilog="Example: embedq-tui undo c23949cb-3066-4f34-9c7d-e78e2d3f425a")
@click.argument("operation", type=click.UUID, metavar="OPERATION_ID")
@operator_command
def command(invocation: Invocation, operation: UUID) -> ExitCode:
    """Undo `cancel`, `clear` or `priority` for the tasks that have not changed since.

    Those commands print the operation id; it is also in the audit log. Exits 1 if nothing was undone.
    """
    so_far = SoFar[Undone | None](None)

    def keep(undone: Undone) -> None:
        so_far.value = undone

    async def run(connection: Connection) -> Undone:
        await require_current(connection)
        return await undo(connection, operation, operator(), progress=keep)

    try:
        undone = ask(invocation.settings(), run)
    except (KeyboardInterrupt, EmbedqError):
        if so_far.value:
            _report(invocation, so_far.value, "; run it again to resume")
        raise
    _report(invocation, undone)
    return ExitCode.OK if undone.changed else ExitCode.NO


def _report(invocation: Invocation, undone: Undone, more: str = "") -> None:
    if invocation.as_json:
        print_json(undone)
    else:
        message = f"{count(undone.changed, 'task')} restored"
        if undone.kept:
            message += f"; {undone.kept:,} left alone: changed or superseded since"
        elif not undone.changed and not more:
            message += ": the audit log has no tasks for this operation"
        say(message + more, error=bool(more))
