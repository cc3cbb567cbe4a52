"""`embedq-tui reset-stuck`: return stuck tasks to the queue."""

from __future__ import annotations

import click

from embedq_tui.commands.actions import dry_run_option, run_action
from embedq_tui.commands.invocation import Invocation, operator_command
from embedq_tui.commands.selecting import TaskName, chosen, minutes_option
from embedq_tui.filters.names import Name
from embedq_worker.actions.tasks import RELEASE
from embedq_worker.errors import ExitCode
from embedq_worker.insights.stuck import stuck_by


@click.command("reset-stuck", epilog="Example: embedq-tui reset-stuck --minutes 30")
@click.argument("tasks", type=TaskName(), nargs=-1, metavar="[TASK_ID]..")
@minutes_option
@dry_run_option
@operator_command
def command(
    invocation: Invocation, tasks: tuple[Name, ...], older_s: float | None, dry_run: bool
) -> ExitCode:
    """Return tasks to the queue whose claim is too old, or whose worker is gone or has no heartbeat.

    These are the tasks that `embedq-tui stuck` lists, or those of them that are given by id; --minutes
    overrides their maximum age.

    Whoever still holds one, even another program's worker, can no longer write its result. No attempt is
    counted. Exits 0 if there was nothing to reset.
    """
    by = stuck_by(invocation.settings(), older_s)
    wanted = chosen(tasks, statuses=RELEASE.statuses, stuck=by)
    return run_action(invocation, RELEASE, wanted, dry_run=dry_run, nothing=ExitCode.OK)
