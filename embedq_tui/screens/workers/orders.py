"""Orders to one worker or to all, given through the database, on any host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from embedq_tui.desk import Desk
from embedq_tui.dialogs.confirm import Confirmation, Decision
from embedq_tui.dialogs.running import Progress
from embedq_tui.live.store import Look
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.words import count
from embedq_tui.workflows.stopping import FORCED_S, Ended, free
from embedq_worker.actions import orders
from embedq_worker.actions.orders import Order
from embedq_worker.insights.overview import Overview, WorkerRow
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.text import age, printable_line

# -- one


async def set_pace(desk: Desk, row: WorkerRow, wanted: int) -> bool:
    """Set how many batches a worker processes at once. Call it in a Textual worker.

    Args:
        desk: Of the database.
        row: The worker.
        wanted: Number of batches.

    Returns:
        Whether the worker is running.
    """

    async def give() -> bool:
        async with desk.session.link.connection() as connection:
            return await orders.set_concurrency(connection, row.id, wanted, desk.options.operator)

    return await _give_to(desk, row, give, f"will process {count(wanted, 'batch', 'batches')} at once")


async def pause_worker(desk: Desk, row: WorkerRow) -> None:
    """Pause a worker, or let it claim tasks again. Call it in a Textual worker.

    Args:
        desk: Of the database.
        row: The worker.
    """
    seen = await _look_now(desk)
    if seen is None:
        return
    pause = not any(worker.id == row.id and worker.paused_at is not None for worker in seen.workers)

    async def give() -> bool:
        async with desk.session.link.connection() as connection:
            return await orders.pause_worker(connection, row.id, pause=pause, by=desk.options.operator)

    await _give_to(
        desk,
        row,
        give,
        f"will claim no more tasks; {key('workers.pause_one')}: resume" if pause else "may claim tasks again",
    )


async def end_worker(desk: Desk, row: WorkerRow, *, force: bool) -> None:
    """Shut down a worker, after confirmation. Call it in a Textual worker.

    Args:
        desk: Of the database.
        row: The worker.
        force: It does not finish its tasks but returns them to the queue.
    """
    then = "returned to the queue at once" if force else "which it finishes first"
    held = f"It holds {count(row.in_hand, 'task')}" + (f", {then}." if row.in_hand else ".")
    title = f"Shut down worker {_place(row)}?"
    asked = Confirmation(title, [held, "Other workers carry on."], "Shut down", danger=force)
    if await desk.dialogs.confirm(asked) is not Decision.YES:
        return

    async def give() -> bool:
        async with desk.session.link.connection() as connection:
            return await orders.stop_worker(connection, row.id, force=force, by=desk.options.operator)

    if await _give_to(desk, row, give, "was asked to shut down") and force:
        await _free(desk, row)


async def _free(desk: Desk, row: WorkerRow) -> None:
    """Take from a worker what it holds, whether it answers the order to exit or not."""
    settings = desk.session.settings
    timeout_s = FORCED_S + settings.beat_every_s

    async def take() -> Ended:
        async with desk.session.link.connection() as connection:
            return await free(
                connection,
                settings,
                [row.id],
                TaskFilter(worker=row.id),
                by=desk.options.operator,
                timeout_s=timeout_s,
                reached=lambda _: None,
            )

    waiting = Progress(f"Shutting down worker {_place(row)}")
    waiting.lines = [f"It has {age(timeout_s)} to answer; then it is declared dead."]
    ended = await desk.dialogs.attempt(waiting, take)
    if ended is not None:
        [worker] = ended.workers
        words = "ended" if worker.state == "stopped" else "did not answer and was declared dead"
        freed = f"; {count(ended.taken_back, 'task')} returned to the queue" if ended.taken_back else ""
        desk.dialogs.notify(f"Worker {_place(row)} {words}{freed}", bad=worker.state != "stopped")
        desk.session.again()


async def _give_to(desk: Desk, row: WorkerRow, give: Callable[[], Awaitable[bool]], done: str) -> bool:
    """Give an order to a worker, and tell the operator the outcome."""
    heard = await desk.dialogs.attempt(Progress(f"Worker {_place(row)}"), give)
    if heard is not None:
        words = done if heard else "is no longer running"
        desk.dialogs.notify(f"Worker {_place(row)} {words}", bad=not heard)
        desk.session.again()
    return bool(heard)


def _place(row: WorkerRow) -> str:
    return printable_line(row.place)


# -- all


async def pause_or_resume(desk: Desk) -> None:
    """Pause all workers, or let them claim tasks again. Call it in a Textual worker.

    Args:
        desk: Of the database.
    """
    seen = await _look_now(desk)
    if seen is None:
        return
    if seen.control.paused_at is not None:
        await _give(desk, Order.RESUME, "Resume all workers?", "They claim tasks again.")
    else:
        await _give(
            desk, Order.PAUSE, "Pause all workers?", "They keep running but claim no tasks until resumed."
        )


async def stop_or_start(desk: Desk) -> None:
    """Stop all workers on all hosts, or lift a stop. Call it in a Textual worker.

    Args:
        desk: Of the database.
    """
    seen = await _look_now(desk)
    if seen is None:
        return
    if seen.control.stopped_at is not None:
        await _give(
            desk, Order.START, "Let workers claim tasks again?", "This lifts the stop. It starts no workers."
        )
        return
    title = f"Stop {count(len(seen.alive), 'worker')} on all hosts?"
    line = "They finish their tasks and exit. No worker claims tasks until the stop is lifted."
    await _give(desk, Order.STOP, title, line, danger=True)


async def _look_now(desk: Desk) -> Overview | None:
    """A fresh overview: a key that toggles must not act on an outdated state."""
    looking = Progress("Checking the workers")
    return await desk.dialogs.attempt(looking, lambda: desk.session.ask(Look()))


async def _give(desk: Desk, order: Order, title: str, line: str, *, danger: bool = False) -> None:
    asked = Confirmation(title, [line], order.value.capitalize(), danger=danger)
    if await desk.dialogs.confirm(asked) is not Decision.YES:
        return

    async def give() -> int:
        async with desk.session.link.connection() as connection:
            return len(await orders.command(connection, order, desk.options.operator))

    if await desk.dialogs.attempt(Progress(title), give) is not None:
        desk.dialogs.notify(f"All workers: {order.value}")
        desk.session.again()
