"""What commands that act on workers share: an order to all of them."""

from __future__ import annotations

from embedq_tui.commands.asking import ask
from embedq_tui.invocation import Invocation, operator
from embedq_tui.output import print_json, say
from embedq_tui.rendering.words import count
from embedq_worker.actions import orders
from embedq_worker.actions.orders import Order
from embedq_worker.database.connections import Connection
from embedq_worker.insights.overview import Liveness, Overview, overview


def give_order(invocation: Invocation, order: Order, done: str) -> None:
    """Give an order to all workers and report the resulting state.

    Args:
        invocation: The command's.
        order: Any but a stop.
        done: What to print once it is given.
    """
    settings = invocation.settings()

    async def give(connection: Connection) -> Overview:
        await orders.command(connection, order, operator())
        return await overview(connection, settings)

    seen = ask(settings, give)
    alive = sum(worker.liveness is Liveness.ALIVE for worker in seen.workers)
    if invocation.as_json:
        print_json(
            {
                "order": order.value,
                "stopped": seen.control.stopped_at is not None,
                "paused": seen.control.paused_at is not None,
                "workers": alive,
            }
        )
        return
    say(f"{done} {count(alive, 'worker')} running.")
    if order is Order.PAUSE:
        say("No worker claims tasks until you run: embedq-tui resume")
    if order is Order.START and seen.control.paused_at:
        say("They are still paused; to lift that: embedq-tui resume")
    elif order is not Order.START and seen.control.stopped_at:
        say("They are still stopped; to lift that: embedq-tui start")
    elif not alive and order is not Order.PAUSE:
        say("To start one: embedq-worker")
