"""Orders to one worker or to all, given through the database, on any host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from embedq_tui.dialogs.confirm import Confirmation, Decision
from embedq_tui.dialogs.running import Progress
from embedq_tui.live.store import Look
from embedq_tui.output import count
from embedq_worker.insights.overview import Liveness, Overview, WorkerRow
from embedq_worker.queue import fleet
from embedq_worker.queue.fleet import Order
from embedq_worker.text import printable_line

if TYPE_CHECKING:
    from embedq_tui.console.app import Console

# -- one


async def set_pace(console: Console, row: WorkerRow, wanted: int) -> bool:
    """Set how many batches a worker processes at once. Call it in a Textual worker.

    Args:
        console: The console.
        row: The worker.
        wanted: Number of batches.

    Returns:
        Whether the worker is running.
    """

    async def give(_: Progress) -> bool:
        async with console.session.link.connection() as connection:
            return await fleet.set_concurrency(connection, row.id, wanted, console.options.operator)

    return await _give_to(console, row, give, f"will process {count(wanted, 'batch', 'batches')} at once")


async def end_worker(console: Console, row: WorkerRow, *, force: bool) -> None:
    """Shut down a worker, after confirmation. Call it in a Textual worker.

    Args:
        console: The console.
        row: The worker.
        force: It does not finish its tasks but returns them to the queue.
    """
    if console.dialogs.refused():
        return
    held = f"It holds {count(row.in_hand, 'task')}" + (
        ", returned to the queue at once." if force else " and finishes them first."
    )
    title = f"Shut down worker {_place(row)}?"
    asked = Confirmation(title, [held, "Other workers carry on."], "Shut down", danger=force)
    if await console.dialogs.confirm(asked) is not Decision.YES:
        return

    async def give(_: Progress) -> bool:
        async with console.session.link.connection() as connection:
            return await fleet.stop_worker(connection, row.id, force=force, by=console.options.operator)

    await _give_to(console, row, give, "was asked to shut down")


async def _give_to(
    console: Console, row: WorkerRow, give: Callable[[Progress], Awaitable[bool]], done: str
) -> bool:
    """Give an order to a worker, and tell the operator the outcome."""
    heard = await console.dialogs.attempt(Progress(f"Worker {_place(row)}"), give)
    if heard is not None:
        words = done if heard else "is no longer running"
        console.dialogs.notify(f"Worker {_place(row)} {words}", bad=not heard)
        console.session.again()
    return bool(heard)


def _place(row: WorkerRow) -> str:
    return f"{printable_line(row.host)}/{row.pid}"


# -- all


async def pause_or_resume(console: Console) -> None:
    """Pause all workers, or let them claim tasks again. Call it in a Textual worker.

    Args:
        console: The console.
    """
    seen = await _look_now(console)
    if seen is None:
        return
    if seen.control.paused_at is not None:
        await _give(console, Order.RESUME, "Resume all workers?", "They claim tasks again.")
    else:
        await _give(
            console, Order.PAUSE, "Pause all workers?", "They keep running but claim no tasks until resumed."
        )


async def stop_or_start(console: Console) -> None:
    """Stop all workers on all hosts, or lift a stop. Call it in a Textual worker.

    Args:
        console: The console.
    """
    seen = await _look_now(console)
    if seen is None:
        return
    if seen.control.stopped_at is not None:
        await _give(
            console,
            Order.START,
            "Let workers claim tasks again?",
            "This lifts the stop. It starts no workers.",
        )
        return
    alive = sum(row.liveness is Liveness.ALIVE for row in seen.workers)
    title = f"Stop {count(alive, 'worker')} on all hosts?"
    line = "They finish their tasks and exit. No worker claims tasks until the stop is lifted."
    await _give(console, Order.STOP, title, line, danger=True)


async def _look_now(console: Console) -> Overview | None:
    """A fresh overview: a key that toggles must not act on an outdated state."""
    looking = Progress("Checking the workers")
    return await console.dialogs.attempt(looking, lambda _: console.session.ask(Look()))


async def _give(console: Console, order: Order, title: str, line: str, *, danger: bool = False) -> None:
    asked = Confirmation(title, [line], order.value.capitalize(), danger=danger)
    if await console.dialogs.confirm(asked) is not Decision.YES:
        return

    async def give(_: Progress) -> int:
        async with console.session.link.connection() as connection:
            return len(await fleet.command(connection, order, console.options.operator))

    if await console.dialogs.attempt(Progress(title), give) is not None:
        console.dialogs.notify(f"All workers: {order.value}")
        console.session.again()
