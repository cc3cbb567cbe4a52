"""`embedq-tui cancel`: cancel tasks before they complete."""

from __future__ import annotations

from typing import Any

import click

from embedq_tui.commands.actions import dry_run_option, run_action
from embedq_tui.commands.invocation import Invocation, operator_command
from embedq_tui.commands.selecting import COMMON, TaskName, chosen, filter_options, minutes_option
from embedq_tui.filters.names import Name
from embedq_worker.actions.tasks import CANCEL, CANCEL_FAILED
from embedq_worker.errors import ExitCode
from embedq_worker.insights.stuck import stuck_by


@click.command("cancel", epilog="Example: embedq-tui cancel --priority low --since 2h")
@click.argument("tasks", type=TaskName(), nargs=-1, metavar="[TASK_ID]..")
@click.option(
    "--status",
    "statuses",
    type=click.Choice(CANCEL.statuses),
    multiple=True,
    help="Tasks in this status; repeatable.  [default: pending]",
)
@click.option(
    "--failed", is_flag=True, help="Give up on failed tasks instead: they leave their failure group."
)
@click.option("--stuck", is_flag=True, help="Stuck tasks instead, those that `embedq-tui stuck` lists.")
@minutes_option
@filter_options("group", "error", *COMMON, "worker")
@click.option("--yes", is_flag=True, help="Skip the confirmation.")
@dry_run_option
@operator_command
def command(
    invocation: Invocation,
    tasks: tuple[Name, ...],
    statuses: tuple[str, ...],
    failed: bool,
    stuck: bool,
    older_s: float | None,
    yes: bool,
    dry_run: bool,
    **values: Any,
) -> ExitCode:
    """Cancel the given tasks, or all that match the options. For all pending tasks use `embedq-tui clear`.

    Cancelled tasks are kept, as failed with "Cancelled by administrator". A task given by id, or matched by
    --stuck or --status processing, is cancelled even while a worker holds it: that worker's result is
    discarded. The errors of failed tasks stay in the audit log; `embedq-tui undo` restores them.
    """
    given = {name: value for name, value in values.items() if value is not None}
    if stuck and (statuses or failed):
        raise click.UsageError("--stuck cannot be combined with --status or --failed")
    if older_s is not None and not stuck:
        raise click.UsageError("--minutes applies to stuck tasks: add --stuck")
    if stuck:
        given["stuck"] = stuck_by(invocation.settings(), older_s)
    if tasks and (given or statuses):
        raise click.UsageError("give task ids or filter options, not both")
    if failed and statuses:
        raise click.UsageError("--failed cannot be combined with --status")
    if not failed and ("group" in given or "error" in given):
        raise click.UsageError("--group and --error apply to failed tasks: add --failed")
    action = CANCEL_FAILED if failed else CANCEL
    if tasks:
        return run_action(invocation, action, chosen(tasks), dry_run=dry_run)
    if failed:
        wanted = chosen(statuses=("failed",), **given)
        return run_action(invocation, action, wanted, ask=not yes, dry_run=dry_run)
    if not given and not statuses:
        raise click.UsageError("give task ids or filter options: --stuck, --failed, --priority, --slug, ..")
    held = "worker" in given or stuck
    wanted = chosen(statuses=statuses or (("processing",) if held else ("pending",)), **given)
    return run_action(invocation, action, wanted, ask=not yes, dry_run=dry_run)
