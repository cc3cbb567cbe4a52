"""`embedq-tui list`: tasks that match filters, page by page."""

from __future__ import annotations

from typing import Any

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, after_option, limit_option, operator_command
from embedq_tui.commands.output import print_json, say
from embedq_tui.commands.selecting import COMMON, chosen, filter_options
from embedq_tui.commands.task_table import print_tasks
from embedq_worker.database.connections import Connection
from embedq_worker.errors import ExitCode
from embedq_worker.insights.tasks import TaskPage, list_tasks
from embedq_worker.queue.selection import Cursor, Order


@click.command("list", epilog="Example: embedq-tui list --status failed --since 2h --error timeout")
@filter_options("status", *COMMON, "error", "group", "worker")
@limit_option("Tasks per page.", default=50, most=10_000)
@after_option(Cursor.parse)
@click.option(
    "--sort",
    type=click.Choice(["newest", "oldest", "next"]),
    default="newest",
    show_default=True,
    help="Order; `next`: pending tasks in the order they will be claimed.",
)
@operator_command
def command(invocation: Invocation, limit: int, after: Cursor | None, sort: Order, **values: Any) -> ExitCode:
    """List the tasks that match all of the options.

    Sorted by the time that matters for their status: when they are due (pending), were claimed (processing),
    or ended. Exits 1 if there are none.
    """
    settings, selected = invocation.settings(), chosen(**values)

    async def look(connection: Connection) -> TaskPage:
        wanted = await selected.look_up(connection, settings)
        return await list_tasks(connection, wanted, limit=limit, after=after, direction=sort)

    page = ask(settings, look)
    if invocation.as_json:
        print_json({"at": page.at, "tasks": page.tasks, "next": str(page.next) if page.next else None})
    elif not page.tasks:
        say("No tasks match.")
    else:
        print_tasks(page.tasks, page.at)
        if page.next:
            say()
            say(f"More: --after {page.next}")
    return ExitCode.OK if page.tasks else ExitCode.NO
