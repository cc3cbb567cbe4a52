"""`embedq-tui cancel`: end tasks before they are done."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import click

from embedq_tui.filters.options import filter_of, filter_options
from embedq_tui.invocation import Invocation, operator_command
from embedq_tui.task_commands import run_action
from embedq_worker.actions.tasks import CANCEL, CANCEL_FAILED
from embedq_worker.errors import ExitCode


@click.command("cancel", epilog="Example: embedq-tui cancel --priority low --since 2h")
@click.argument("tasks", type=click.UUID, nargs=-1, metavar="[TASK_ID]..")
@click.option(
    "--status",
    "statuses",
    type=click.Choice(CANCEL.statuses),
    multiple=True,
    help="May be given more than once.  [default: pending]",
)
@click.option(
    "--failed", is_flag=True, help="Give failed tasks up instead: they leave the group of their error."
)
@filter_options(
    "group", "error", "slug", "priority", "article", "worker", "operation", "metadata", "since", "until"
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@operator_command
def command(
    invocation: Invocation,
    tasks: tuple[UUID, ...],
    statuses: tuple[str, ...],
    failed: bool,
    yes: bool,
    **values: Any,
) -> ExitCode:
    """Cancel the tasks named, or all that fulfil the options; all pending ones: `embedq-tui clear`.

    They stay, as failed with "Cancelled by administrator". A task that is named, or wanted with --status
    processing, is cancelled in a worker's hands too: what that worker has done for it is thrown away. The
    errors of failed ones stay in the audit log, and `embedq-tui undo` gives them back.
    """
    given = {name: value for name, value in values.items() if value is not None}
    if tasks and (given or statuses):
        raise click.UsageError("name tasks or describe them, not both")
    if failed and (statuses or "worker" in given):
        raise click.UsageError("--failed tasks are neither waiting nor in hand: leave --status and --worker")
    if not failed and ("group" in given or "error" in given):
        raise click.UsageError("only failed tasks have an error: add --failed")
    action = CANCEL_FAILED if failed else CANCEL
    if tasks:
        return run_action(invocation, action, filter_of(tasks), verb="Cancel")
    if failed:
        return run_action(
            invocation, action, filter_of(statuses=("failed",), **given), verb="Cancel", ask=not yes
        )
    if not given and not statuses:
        raise click.UsageError(
            "name tasks, or say which: --priority, --slug, --article, --since, .., --failed"
        )
    wanted = filter_of(statuses=statuses or (("processing",) if "worker" in given else ("pending",)), **given)
    return run_action(invocation, action, wanted, verb="Cancel", ask=not yes)
