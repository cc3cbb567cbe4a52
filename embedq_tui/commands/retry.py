"""`embedq-tui retry`: retry failed tasks from scratch."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from embedq_tui.commands.actions import dry_run_option, run_action
from embedq_tui.commands.invocation import Invocation, Seconds, operator_command
from embedq_tui.commands.output import Bar
from embedq_tui.commands.selecting import COMMON, TaskName, chosen, filter_options
from embedq_tui.filters.names import Name
from embedq_tui.rendering.words import count
from embedq_tui.workflows.staged import STAGE_TIMEOUT_S, Stage, in_stages
from embedq_worker.actions.tasks import RETRY, RETRY_WAITING, Run
from embedq_worker.errors import ExitCode


@click.command("retry", epilog="Example: embedq-tui retry --failed --group 1a2b3c4d --staged")
@click.argument("tasks", type=TaskName(), nargs=-1, metavar="[TASK_ID]..")
@click.option("--failed", is_flag=True, help="All failed tasks that match the options.")
@click.option("--waiting", is_flag=True, help="Pending tasks that are not due yet, instead of failed ones.")
@filter_options("group", "error", *COMMON)
@click.option(
    "--staged", is_flag=True, help="Retry 10, then 100, then the rest; halt if over 10% fail again."
)
@click.option(
    "--stage-timeout",
    type=Seconds(min=0),
    default=STAGE_TIMEOUT_S,
    metavar="SECONDS",
    show_default=True,
    help="With --staged: give up on a stage after this long.",
)
@dry_run_option
@operator_command
def command(
    invocation: Invocation,
    tasks: tuple[Name, ...],
    failed: bool,
    waiting: bool,
    staged: bool,
    stage_timeout: float,
    dry_run: bool,
    **values: Any,
) -> ExitCode:
    """Retry the given failed tasks, or all that match the options.

    They start from scratch: zero attempts, due now. A failed delete is skipped if its article has a later
    task. With --waiting, tasks that wait for their next attempt do not wait any longer.
    """
    given = {name: value for name, value in values.items() if value is not None}
    if tasks and (failed or given):
        raise click.UsageError("give task ids or filter options, not both")
    if not tasks and not failed and not waiting:
        raise click.UsageError("give task ids, or add --failed or --waiting")
    if waiting and (failed or staged):
        raise click.UsageError("--waiting cannot be combined with --failed or --staged")
    action = RETRY_WAITING if waiting else RETRY
    wanted = chosen(tasks, statuses=() if tasks else action.statuses, **given)
    if not staged:
        return run_action(invocation, action, wanted, dry_run=dry_run)

    async def way(run: Run, bar: Bar) -> str:
        report = partial(_report, bar=bar, begun=set(), quiet=invocation.as_json)
        return "done" if await in_stages(run, stage_timeout, report) else "halted"

    return run_action(invocation, RETRY, wanted, dry_run=dry_run, way=way)


def _report(stage: Stage, *, bar: Bar, begun: set[int], quiet: bool) -> None:
    if stage.over and not stage.well:
        what = (
            f"{stage.waiting:,} did not finish in time" if stage.waiting else f"{stage.failed:,} failed again"
        )
        bar.say(f"Halted: of {count(stage.tasks, 'task')} {what}", error=True)
    elif stage.over and not quiet:
        bar.say(f"{count(stage.tasks, 'task')} retried, {stage.failed:,} failed again")
    elif not stage.over and not quiet and stage.number not in begun:
        begun.add(stage.number)
        bar.say(f"Stage {stage.number}: waiting for {count(stage.tasks, 'task')} to finish")
