"""`embedq-tui recent`: tasks with the most recent activity."""

from __future__ import annotations

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, limit_option, operator_command
from embedq_tui.commands.output import print_json, say
from embedq_tui.commands.task_table import print_tasks
from embedq_worker.insights.tasks import recent


@click.command("recent", epilog="Example: embedq-tui recent --limit 5")
@limit_option("Tasks to show.", default=20, most=1000)
@operator_command
def command(invocation: Invocation, limit: int) -> None:
    """Show the tasks that ended, were claimed or became due most recently.

    Retries that are not due yet are left out. Exits 0 even if there are none.
    """
    page = ask(invocation.settings(), lambda connection: recent(connection, limit=limit))
    if invocation.as_json:
        print_json({"at": page.at, "tasks": page.tasks})
    elif not page.tasks:
        say("There are no tasks.")
    else:
        print_tasks(page.tasks, page.at)
