"""`embedq-tui pause`: keep workers running but idle."""

from __future__ import annotations

import click

from embedq_tui.commands.invocation import Invocation, operator_command
from embedq_tui.commands.orders import give_order, pause_one
from embedq_tui.commands.selecting import worker_option
from embedq_tui.filters.names import Name
from embedq_worker.actions.orders import Order


@click.command("pause", epilog="Example: embedq-tui pause --worker build-7/4711")
@worker_option
@operator_command
def command(invocation: Invocation, worker: Name | None) -> None:
    """Keep workers, or one of them, running but idle.

    They finish the tasks they hold and claim nothing more until `resume`.
    """
    if worker is not None:
        pause_one(invocation, worker, pause=True)
        return
    give_order(invocation, Order.PAUSE, "Paused.")
