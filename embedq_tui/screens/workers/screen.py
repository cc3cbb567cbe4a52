"""The worker of this console with its log, and all others: started, ended and paced from here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from embedq_tui.output import count
from embedq_tui.rendering.lines import state_of
from embedq_tui.rendering.styles import BAD, DOUBTFUL, GOOD, QUIET
from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.screens.workers.orders import end_worker, pause_or_resume, set_pace, stop_or_start
from embedq_tui.screens.workers.rows import COLUMNS, worker_row
from embedq_tui.supervisor.supervisor import Supervisor
from embedq_tui.supervisor.types import WorkerState
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.lines import Lines
from embedq_tui.widgets.tail_view import TailView
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.overview import Liveness, WorkerRow
from embedq_worker.settings import MOST_CONCURRENCY
from embedq_worker.text import age, printable_line

LOG_LINES = 2_000

ANSWERED_S = 10.0
"""Seconds in which a worker says that it works on as many batches as it was asked to."""

_STYLES = {
    WorkerState.RUNNING: GOOD,
    WorkerState.STARTING: DOUBTFUL,
    WorkerState.STOPPING: DOUBTFUL,
    WorkerState.WAITING: BAD,
    WorkerState.FAILED: BAD,
}


class WorkersScreen(ConsoleScreen):
    """All who serve the queue."""

    MODE = "workers"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "start", "Start", id="workers.start", tooltip="Start a worker of this console"),
        Binding("t", "stop", "Stop", id="workers.stop", tooltip="Stop the worker of this console"),
        Binding(
            "T",
            "force",
            "Stop now",
            show=False,
            id="workers.force",
            tooltip="End the worker of this console at once",
        ),
        Binding("r", "restart", "Restart", id="workers.restart", tooltip="Stop it and start it anew"),
        Binding(
            "R",
            "reset",
            "Reset",
            show=False,
            id="workers.reset",
            tooltip="End it at once, return what it held to the queue, start it anew",
        ),
        Binding("o", "leave", "Let go", show=False, id="workers.leave", tooltip="Leave it running by itself"),
        Binding(
            "plus", "pace(1)", "More", key_display="+", id="workers.more", tooltip="A batch more at once"
        ),
        Binding(
            "minus", "pace(-1)", "Less", key_display="-", id="workers.less", tooltip="A batch less at once"
        ),
        Binding("x", "end_one(False)", "End it", id="workers.end", tooltip="Ask the chosen worker to end"),
        Binding(
            "X",
            "end_one(True)",
            "End it now",
            show=False,
            id="workers.end_now",
            tooltip="End the chosen worker at once",
        ),
        Binding("p", "pause", "Pause all", id="workers.pause", tooltip="Pause all, or let them go on"),
        Binding("S", "stop_all", "Stop all", show=False, id="workers.stop_all", tooltip="Stop or start all"),
        Binding("y", "copy", "Copy", show=False, id="workers.copy", tooltip="Copy the log that is kept"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._next_line = 0
        self._asked: dict[UUID, tuple[int, float]] = {}
        self._pacing = asyncio.Lock()

    def body(self) -> ComposeResult:
        """Ours, all, and what ours says."""
        yield Lines(id="ours")
        yield KeyedTable(COLUMNS, ascii_only=self.console.ascii_only, id="all")
        log = TailView(LOG_LINES, id="log")
        log.border_title = "Log of the console's worker"
        yield log

    # -- showing

    def state_changed(self) -> None:
        """Show workers, ours and all."""
        self._draw()

    def ticked(self, now: datetime) -> None:
        """Show ages."""
        self._draw()

    def _draw(self) -> None:
        if not self.alive:
            return
        self.query_one("#ours", Lines).show(self._ours())
        seen, now = self.store.overview, self.store.now()
        if seen is not None and now is not None:
            ours = self._supervisor.worker_id
            self.query_one("#all", KeyedTable).show(worker_row(row, now, ours) for row in seen.workers)
        self._draw_log()
        self.refresh_bindings()

    def _draw_log(self) -> None:
        ring, log = self._supervisor.log, self.query_one("#log", TailView)
        lines = ring.since(self._next_line, limit=LOG_LINES)
        self._next_line = ring.next_number
        if lines:
            log.add((line.text, QUIET if line.ours else "") for line in lines)
        log.display = not log.empty

    def _ours(self) -> Iterator[Text]:
        seen = self.store.overview
        if seen is not None:
            word, style = state_of(seen)
            alive = sum(row.liveness is Liveness.ALIVE for row in seen.workers)
            # Counted: what a worker that is silent said last may have been taken back.
            held = seen.queue.counts.processing
            yield Text.assemble(
                ("All workers   ", QUIET), (word, style), f", {alive} alive, {held:,} in hand"
            )
        else:
            yield Text("All workers   ", QUIET) + self.unknown()
        it = self._supervisor
        line = Text.assemble(("This console  ", QUIET), (it.state.value, _STYLES.get(it.state, QUIET)))
        if it.pid is not None and it.started_at is not None:
            line.append(f", pid {it.pid}, for {age(time.monotonic() - it.started_at)}")
        if it.restart_at is not None and it.state is WorkerState.WAITING:
            line.append(f", started again in {age(max(it.restart_at - time.monotonic(), 0))}")
        if it.crashes:
            line.append(f", {count(it.crashes, 'crash', 'crashes')} in a row", BAD)
        if it.reason:
            line.append(f": {printable_line(it.reason)}")
        if it.state in (WorkerState.OFF, WorkerState.FAILED):
            line.append("; s starts one here")
        yield line

    # -- what can be done

    @property
    def _supervisor(self) -> Supervisor:
        return self.console.supervisor

    @property
    def _chosen(self) -> WorkerRow | None:
        key = self.query_one("#all", KeyedTable).current
        seen = self.store.overview
        rows = seen.workers if seen is not None else ()
        return next((row for row in rows if str(row.id) == key), None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what makes sense for the state of our worker, and for the one under the cursor."""
        alive = self._supervisor.alive
        match action:
            case "start":
                return not alive
            case "stop" | "force" | "restart" | "reset" | "leave":
                return alive
            case "pace" | "end_one":
                return self.alive and self._chosen is not None
        return super().check_action(action, parameters)

    def action_start(self) -> None:
        """Start a worker of this console."""
        if not self.console.dialogs.refused():
            self._supervise(self._supervisor.start)

    def action_stop(self) -> None:
        """Stop it; it finishes what it holds."""
        self._supervise(self._supervisor.stop)

    def action_force(self) -> None:
        """End it at once; it gives back what it holds."""
        self._supervise(self._supervisor.force)

    def action_restart(self) -> None:
        """Stop it, and start it anew."""
        self._supervise(self._supervisor.restart)

    def action_leave(self) -> None:
        """Leave it running on its own."""
        self._supervise(self._supervisor.leave)

    def action_reset(self) -> None:
        """End it at once, return what it held, start it anew."""

        async def reset() -> None:
            returned = await self._supervisor.reset()
            self.console.dialogs.notify(f"Worker reset; {count(returned, 'task')} returned to the queue")

        self._supervise(reset)

    @work(group="supervise", exit_on_error=False)
    async def _supervise(self, do: Callable[[], Awaitable[object]]) -> None:
        # Not exclusive: a stop that is under way may be followed by one that is more urgent.
        try:
            await do()
        except EmbedqError as error:
            self.console.dialogs.notify(str(error), bad=True)
        self._draw()
        self.session.again()

    @work(group="pace", exit_on_error=False)
    async def action_pace(self, by: int) -> None:
        """Let the chosen worker work on more or fewer batches at once, whatever host it is on."""
        row = self._chosen
        if row is None or self.console.dialogs.refused():
            return
        wanted = min(max(self._paced(row) + by, 1), MOST_CONCURRENCY)
        self._asked[row.id] = (wanted, time.monotonic())
        async with self._pacing:  # one after the other: the last word holds
            if not await set_pace(self.console, row, wanted):
                self._asked.pop(row.id, None)

    def _paced(self, row: WorkerRow) -> int:
        """Batches a worker works on at once: what it was asked to a moment ago, else what it says."""
        wanted, asked_at = self._asked.get(row.id, (0, -ANSWERED_S))
        return wanted if time.monotonic() - asked_at < ANSWERED_S else _concurrency(row)

    @work(exclusive=True, group="order", exit_on_error=False)
    async def action_end_one(self, force: bool) -> None:
        """Ask the chosen worker to end, whatever host it is on."""
        if (row := self._chosen) is not None:
            await end_worker(self.console, row, force=force)

    @work(exclusive=True, group="order", exit_on_error=False)
    async def action_pause(self) -> None:
        """Keep all workers up but idle, or let them claim again."""
        await pause_or_resume(self.console)

    @work(exclusive=True, group="order", exit_on_error=False)
    async def action_stop_all(self) -> None:
        """Stop all workers on all hosts, or lift a stop."""
        await stop_or_start(self.console)

    def action_copy(self) -> None:
        """Copy the log."""
        lines = self._supervisor.log.tail(LOG_LINES)
        self.app.copy_to_clipboard("\n".join(line.text for line in lines))
        self.console.dialogs.notify(f"{count(len(lines), 'line')} copied")


def _concurrency(row: WorkerRow) -> int:
    found = row.settings.get("concurrency")
    return found if isinstance(found, int) else 1
