"""What commands that act on workers do alike: an order to all, what is so then; and which worker is meant."""

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
    """Give an order and tell what is so now.

    Args:
        invocation: Of the command.
        order: Not a stop.
        done: In words.
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
        say("They are still paused: embedq-tui resume lifts that")
    elif order is not Order.START and seen.control.stopped_at:
        say("They are still stopped: embedq-tui start lifts that")
    elif not alive and order is not Order.PAUSE:
        say("Start one where it is to work: embedq-worker")


async def _give_order(settings: Settings, order: Order) -> Overview:
    async with connected(settings) as connection:
        await fleet.command(connection, order, operator())
        return await overview(connection, settings)


async def worker_named(connection: Connection, settings: Settings, name: str) -> WorkerRow:
    """The worker that an operator means, of those that have not ended.

    Args:
        connection: To the database.
        settings: For the look at the workers.
        name: Its id, or ``HOST/PID``.

    Raises:
        EmbedqError: There is none, or more than one.
    """
    seen = await overview(connection, settings)
    found = [worker for worker in seen.workers if name in (str(worker.id), f"{worker.host}/{worker.pid}")]
    if not found:
        raise EmbedqError(f"no worker {name!r} is running", "`embedq-tui status` shows those that are")
    if len(found) > 1:
        raise EmbedqError(f"{len(found)} workers are {name}", f"give an id: {found[0].id}")
    return found[0]
