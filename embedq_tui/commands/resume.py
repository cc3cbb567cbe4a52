"""`embedq-tui resume`: let paused workers claim tasks again."""

from __future__ import annotations

import click

from embedq_tui.commands.orders import give_order
from embedq_tui.invocation import Invocation, operator_command
from embedq_worker.actions.orders import Order


@click.command("resume", epilog="Example: embedq-tui resume")
@operator_command
def command(invocation: Invocation) -> None:
    """Let paused workers claim tasks again."""
    give_order(invocation, Order.RESUME, "Resumed.")
