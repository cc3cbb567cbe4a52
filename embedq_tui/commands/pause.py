"""`embedq-tui pause`: keep workers running but idle."""

from __future__ import annotations

import click

from embedq_tui.commands.orders import give_order
from embedq_tui.invocation import Invocation, operator_command
from embedq_worker.actions.orders import Order


@click.command("pause", epilog="Example: embedq-tui pause")
@operator_command
def command(invocation: Invocation) -> None:
    """Keep workers running but idle.

    They finish the tasks they hold and claim nothing more until `resume`.
    """
    give_order(invocation, Order.PAUSE, "Paused.")
