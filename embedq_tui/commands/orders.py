"""What commands that act on workers share: an order to all of them, or a pause of one."""

from __future__ import annotations

from collections.abc import Mapping

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, operator
from embedq_tui.commands.output import print_json, say
from embedq_tui.filters.names import Name, worker_named
from embedq_tui.rendering.words import count
from embedq_worker.actions import orders
from embedq_worker.actions.orders import Order
from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.overview import Overview, WorkerRow, overview
from embedq_worker.schema.state import require_current


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
    alive = len(seen.alive)
    if invocation.as_json:
        print_json(_document(order, seen))
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


def _document(order: Order, seen: Overview) -> Mapping[str, object]:
    return {
        "order": order.value,
        "stopped": seen.control.stopped_at is not None,
        "paused": seen.control.paused_at is not None,
        "workers": len(seen.alive),
    }


def pause_one(invocation: Invocation, name: Name, *, pause: bool) -> None:
    """Pause one worker, or let it claim tasks again, and report the resulting state.

    Args:
        invocation: The command's.
        name: Of the worker.
        pause: Pause it; otherwise resume it.

    Raises:
        EmbedqError: No such worker is running.
    """
    settings = invocation.settings()

    async def give(connection: Connection) -> tuple[WorkerRow, Overview]:
        await require_current(connection)
        worker = await worker_named(connection, settings, name)
        if not await orders.pause_worker(connection, worker.id, pause=pause, by=operator()):
            raise EmbedqError(f"worker {worker.place} is no longer running")
        return worker, await overview(connection, settings)

    worker, seen = ask(settings, give)
    if invocation.as_json:
        print_json(_document(Order.PAUSE if pause else Order.RESUME, seen))
    elif pause:
        say(f"{worker.place} finishes what it holds and claims no tasks until you run:")
        say(f"  embedq-tui resume --worker {worker.place}")
    else:
        say(f"{worker.place} may claim tasks again.")
        if seen.control.paused_at or seen.control.stopped_at:
            say("An order to all workers is still in force: embedq-tui status")
