"""Orders to all workers: start, pause, resume; stop has a command of its own."""

from __future__ import annotations

import asyncio

from embedq_tui.invocation import Invocation, operator
from embedq_tui.output import count, print_json, say
from embedq_worker import fleet
from embedq_worker.database import connected
from embedq_worker.fleet import Order
from embedq_worker.insights.overview import Liveness, Overview, overview
from embedq_worker.settings import Settings


def give(invocation: Invocation, order: Order, done: str) -> None:
    """Give an order and tell what is so now.

    Args:
        invocation: Of the command.
        order: Not a stop.
        done: In words.
    """
    seen = asyncio.run(_give(invocation.settings(), order))
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
    if order is Order.START and seen.control.paused_at:
        say("They are still paused: embedq-tui resume lifts that")
    elif order is not Order.START and seen.control.stopped_at:
        say("They are still stopped: embedq-tui start lifts that")
    elif not alive and order is not Order.PAUSE:
        say("Start one where it is to work: embedq-worker")


async def _give(settings: Settings, order: Order) -> Overview:
    async with connected(settings) as connection:
        await fleet.command(connection, order, operator())
        return await overview(connection, settings)
