"""`embedq-tui start`: let the workers claim again after a stop."""

from __future__ import annotations

import click

from embedq_tui.invocation import Invocation, operator_command
from embedq_tui.worker_commands import give_order
from embedq_worker.queue.fleet import Order


@click.command("start", epilog="Example: embedq-tui start")
@operator_command
def command(invocation: Invocation) -> None:
    """Let the workers claim again after a stop.

    Lifts `stop`, whoever gave it. Starts no process: that is `embedq-worker`, or your service manager.
    """
    give_order(invocation, Order.START, "Workers may claim.")
