"""What commands that act on workers share: an order to all of them, and finding one by name."""

from __future__ import annotations

import asyncio

from embedq_tui.invocation import Invocation, operator
from embedq_tui.output import count, print_json, say
from embedq_worker.database.connections import Connection, connected
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.overview import Liveness, Overview, WorkerRow, overview
from embedq_worker.queue import fleet
from embedq_worker.queue.fleet import Order
from embedq_worker.settings import Settings


def give_order(invocation: Invocation, order: Order, done: str) -> None:
    """Give an order to all workers and report the resulting state.

    Args:
        invocation: The command's.
        order: Any but a stop.
        done: What to print once it is given.
    """
    seen = asyncio.run(_give_order(invocation.settings(), order))
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
        say("They are still paused; to lift that: embedq-tui resume")
    elif order is not Order.START and seen.control.stopped_at:
        say("They are still stopped; to lift that: embedq-tui start")
    elif not alive and order is not Order.PAUSE:
        say("To start one: embedq-worker")


async def _give_order(settings: Settings, order: Order) -> Overview:
    async with connected(settings) as connection:
        await fleet.command(connection, order, operator())
        return await overview(connection, settings)


async def worker_named(connection: Connection, settings: Settings, name: str) -> WorkerRow:
    """Find a worker by name among those that have not ended.

    Args:
        connection: To the database.
        settings: For reading the workers.
        name: Its id, or ``HOST/PID``.

    Raises:
        EmbedqError: No worker matches, or more than one.
    """
    seen = await overview(connection, settings)
    found = [worker for worker in seen.workers if name in (str(worker.id), f"{worker.host}/{worker.pid}")]
    if not found:
        raise EmbedqError(f"no worker {name!r} is running", "running workers are shown by: embedq-tui status")
    if len(found) > 1:
        raise EmbedqError(f"{len(found)} workers match {name}", f"use an id instead, such as {found[0].id}")
    return found[0]
