"""`embedq-tui resume`: let paused workers claim tasks again."""

from __future__ import annotations

import click

from embedq_tui.commands.invocation import Invocation, operator_command
from embedq_tui.commands.orders import give_order, pause_one
from embedq_tui.commands.selecting import worker_option
from embedq_tui.filters.names import Name
from embedq_worker.actions.orders import Order


@click.command("resume", epilog="Example: embedq-tui resume")
@worker_option
@operator_command
def command(invocation: Invocation, worker: Name | None) -> None:
    """Let paused workers, or one of them, claim tasks again.

    Without --worker it also lifts the pauses of single workers. With it, a pause of all workers stays.
    """
    if worker is not None:
        pause_one(invocation, worker, pause=False)
        return
    give_order(invocation, Order.RESUME, "Resumed.")
