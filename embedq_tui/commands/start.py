"""`embedq-tui start`: let workers claim tasks again after `stop`."""

from __future__ import annotations

import click

from embedq_tui.commands.invocation import Invocation, operator_command
from embedq_tui.commands.orders import give_order
from embedq_worker.actions.orders import Order


@click.command("start", epilog="Example: embedq-tui start")
@operator_command
def command(invocation: Invocation) -> None:
    """Let workers claim tasks again after `stop`.

    Lifts the order of `stop`, whoever gave it. To start a worker, use `embedq-worker` or a service manager.
    """
    give_order(invocation, Order.START, "Workers may claim tasks.")
