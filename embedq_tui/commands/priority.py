"""`embedq-tui priority`: change the priority of pending tasks."""

from __future__ import annotations

from typing import Any

import click

from embedq_tui.commands.actions import dry_run_option, run_action
from embedq_tui.commands.invocation import Invocation, operator_command
from embedq_tui.commands.selecting import COMMON, TaskName, chosen, filter_options
from embedq_tui.filters.names import Name
from embedq_worker.actions.tasks import PRIORITISE
from embedq_worker.errors import ExitCode
from embedq_worker.schema.task_values import PRIORITIES, Priority


@click.command("priority", epilog="Example: embedq-tui priority high --slug release-notes")
@click.argument("to", type=click.Choice(PRIORITIES), metavar="high|normal|low")
@click.argument("tasks", type=TaskName(), nargs=-1, metavar="[TASK_ID]..")
@filter_options(*COMMON)
@dry_run_option
@operator_command
def command(
    invocation: Invocation, to: Priority, tasks: tuple[Name, ...], dry_run: bool, **values: Any
) -> ExitCode:
    """Change the priority of the given pending tasks, or of all that match the options.

    `embedq-tui undo` reverts it.
    """
    given = {name: value for name, value in values.items() if value is not None}
    if bool(tasks) == bool(given):
        raise click.UsageError("give either task ids or filter options: --priority, --slug, --since, ..")
    wanted = chosen(tasks, statuses=() if tasks else ("pending",), **given)
    return run_action(invocation, PRIORITISE[to], wanted, dry_run=dry_run)
