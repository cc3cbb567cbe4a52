"""`embedq-tui clear`: cancel all pending tasks."""

from __future__ import annotations

import click

from embedq_tui.commands.actions import run_action
from embedq_tui.commands.invocation import Invocation, operator_command
from embedq_tui.commands.output import print_error
from embedq_tui.commands.selecting import Chosen
from embedq_worker.actions.tasks import CANCEL
from embedq_worker.errors import ExitCode
from embedq_worker.queue.wanted import TaskFilter


@click.command("clear", epilog="Example: embedq-tui clear --confirm")
@click.option("--confirm", "confirmed", is_flag=True, help="Cancel them; without this, only count them.")
@operator_command
def command(invocation: Invocation, confirmed: bool) -> ExitCode:
    """Cancel all pending tasks.

    They are kept, as failed with "Cancelled by administrator". Without --confirm nothing is changed, and the
    exit code is 1 if there are any.
    """
    wanted = Chosen(TaskFilter(statuses=("pending",)))
    code = run_action(invocation, CANCEL, wanted, allowed=confirmed, nothing=ExitCode.OK)
    if not confirmed and code is ExitCode.NO:
        print_error("nothing was cancelled; add --confirm to do it")
    return code
