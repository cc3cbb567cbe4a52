"""This console's worker with its log, and all other workers: start, stop and scale them from here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from embedq_tui.filters.audit_filter import death_of
from embedq_tui.live.questions import Answer, Question
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.lines import state_of
from embedq_tui.rendering.outcomes import deaths_words
from embedq_tui.rendering.styles import BAD, DOUBTFUL, GOOD, QUIET
from embedq_tui.rendering.words import count
from embedq_tui.screens.actions import ActionScreen, Change
from embedq_tui.screens.filtering import show_filtered
from embedq_tui.screens.workers.orders import (
    end_worker,
    pause_or_resume,
    pause_worker,
    set_pace,
    stop_or_start,
)
from embedq_tui.screens.workers.questions import Dead, Deaths
from embedq_tui.screens.workers.render import COLUMNS, dead_facts, dead_row, worker_facts, worker_row
from embedq_tui.supervisor.supervisor import Supervisor
from embedq_tui.supervisor.types import WorkerState
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.lines import Lines
from embedq_tui.widgets.tail_view import TailView
from embedq_worker.configuration.settings import MOST_CONCURRENCY
from embedq_worker.insights.deaths import DeadWorker
from embedq_worker.insights.overview import WorkerRow
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.text import age, printable_line

LOG_LINES = 2_000

ANSWERED_S = 10.0
"""Seconds within which a worker reports the concurrency it was asked for."""

_STYLES = {
    WorkerState.RUNNING: GOOD,
    WorkerState.STARTING: DOUBTFUL,
    WorkerState.STOPPING: DOUBTFUL,
    WorkerState.WAITING: BAD,
    WorkerState.FAILED: BAD,
}


class WorkersScreen(ActionScreen):
    """Shows all workers, with this console's own on top."""

    MODE = "workers"
    BINDINGS: ClassVar[list[BindingType]] = [
        Change("s", "start", "Start", id="workers.start", tooltip="Start this console's worker"),
        Binding("t", "stop", "Stop", id="workers.stop", tooltip="Stop this console's worker"),
        Binding(
            "T",
            "force",
            "Stop now",
            show=False,
            id="workers.force",
            tooltip="Stop this console's worker at once",
        ),
        Binding("r", "restart", "Restart", id="workers.restart", tooltip="Restart this console's worker"),
        Binding(
            "R",
            "reset",
            "Reset",
            show=False,
            id="workers.reset",
            tooltip="Stop it at once, return its tasks to the queue, start it again",
        ),
        Binding(
            "o", "leave", "Detach", show=False, id="workers.leave", tooltip="Leave it running on its own"
        ),
        Change("plus", "pace(1)", "More", id="workers.more", tooltip="One more batch at once"),
        Change("minus", "pace(-1)", "Less", id="workers.less", tooltip="One batch fewer at once"),
        Change("x", "end_one(False)", "End", id="workers.end", tooltip="Shut down the selected worker"),
        Change(
            "X",
            "end_one(True)",
            "End now",
            show=False,
            id="workers.end_now",
            tooltip="Shut down the selected worker at once",
        ),
        Change(
            "p", "pause_one", "Pause", id="workers.pause_one", tooltip="Pause or resume the selected worker"
        ),
        Change(
            "P", "pause", "Pause all", show=False, id="workers.pause", tooltip="Pause or resume all workers"
        ),
        Change(
            "S",
            "stop_all",
            "Stop all",
            show=False,
            id="workers.stop_all",
            tooltip="Stop all workers, or lift the stop",
        ),
        Binding("y", "copy", "Copy", show=False, id="workers.copy", tooltip="Copy the log"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._next_line = 0
        self._dead: Dead = ()
        self._asked: dict[UUID, tuple[int, float]] = {}
        self._pacing = asyncio.Lock()

    def body(self) -> ComposeResult:
        """This console's worker, all workers, and the log."""
        yield Lines(id="ours")
        yield KeyedTable(COLUMNS, opens=True, id="all")
        yield Lines("Worker", id="one")
        log = TailView(LOG_LINES, id="log")
        log.border_title = "Log of this console's worker"
        yield log

    # -- display

    def questions(self) -> Iterable[Question[Any]]:
        """The question for workers that died."""
        yield Deaths()

    def answered(self, answer: Answer[Any]) -> None:
        """Show the workers that died; the others come with the state."""
        if answer.value is not None:
            self._dead = answer.value
            self._draw()

    def state_changed(self) -> None:
        """Show this console's worker and all workers."""
        self._draw()

    def ticked(self, now: datetime) -> None:
        """Update ages."""
        self.query_one("#ours", Lines).show(self._ours())
        self.query_one("#all", KeyedTable).tick(now)
        self._draw_chosen()

    def _draw(self) -> None:
        if not self.alive:
            return
        self.query_one("#ours", Lines).show(self._ours())
        if (now := self.store.now()) is not None:
            ours = self._supervisor.worker_id
            rows = [
                worker_row(row, ours) if isinstance(row, WorkerRow) else dead_row(row)
                for row in self._listed.values()
            ]
            self.query_one("#all", KeyedTable).show(rows, now=now)
        self._draw_chosen()
        self._draw_log()
        self.refresh_bindings()

    @on(KeyedTable.RowHighlighted, "#all")
    def _moved(self) -> None:
        """Show another worker, and what can be done with it."""
        self._draw_chosen()
        self.refresh_bindings()

    def _draw_chosen(self) -> None:
        """Show the worker under the cursor in full."""
        row, now, facts = self._current, self.store.now(), self.query_one("#one", Lines)
        facts.display = row is not None
        if row is not None and now is not None:
            facts.entitle(printable_line(row.place))
            facts.show(
                worker_facts(row, now, self.size.width - 2)
                if isinstance(row, WorkerRow)
                else dead_facts(row, now)
            )

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
            held = seen.queue.counts.processing  # other programs' workers hold some of these
            died = f", {deaths_words(self._dead)}" if self._dead else ""
            line = Text.assemble(
                ("All workers   ", QUIET),
                (word, style),
                f", {len(seen.alive)} alive, {count(held, 'task')} held{died}",
            )
            versions = sorted({printable_line(row.version, 20) for row in seen.workers})
            yield line.append(f", versions {', '.join(versions)}", DOUBTFUL) if len(versions) > 1 else line
        else:
            yield Text("All workers   ", QUIET) + self.unknown()
        it = self._supervisor
        line = Text.assemble(("This console  ", QUIET), (it.state.value, _STYLES.get(it.state, QUIET)))
        if it.pid is not None and it.started_at is not None:
            line.append(f", pid {it.pid}, up {age(time.monotonic() - it.started_at)}")
        if it.restart_at is not None and it.state is WorkerState.WAITING:
            line.append(f", restarting in {age(max(it.restart_at - time.monotonic(), 0))}")
        if it.crashes:
            line.append(f", {count(it.crashes, 'consecutive crash', 'consecutive crashes')}", BAD)
        crashed = it.last_exit if it.state is WorkerState.WAITING else None
        if reason := crashed.describe() if crashed else it.reason:
            line.append(f": {printable_line(reason)}")
        if it.state in (WorkerState.OFF, WorkerState.FAILED) and not self.session.read_only:
            line.append(f"; press {key('workers.start')} to start one")
        yield line

    @on(KeyedTable.RowSelected, "#all")
    def _tasks(self) -> None:
        """Show the tasks of the worker under the cursor; or what became of them, if it died."""
        row = self._current
        if isinstance(row, DeadWorker) and not row.unreturned:
            show_filtered(self, "audit", death_of(row.id, row.died_at))
        elif row is not None:
            show_filtered(self, "tasks", TaskFilter(worker=row.id))

    # -- actions

    @property
    def _supervisor(self) -> Supervisor:
        return self.desk.supervisor

    @property
    def _listed(self) -> Mapping[str, WorkerRow | DeadWorker]:
        """The rows by key: workers that have not ended, then those that died and did not enter again."""
        seen = self.store.overview
        rows: dict[str, WorkerRow | DeadWorker] = {str(row.id): row for row in (seen.workers if seen else ())}
        for row in self._dead:
            rows.setdefault(str(row.id), row)
        return rows

    @property
    def _current(self) -> WorkerRow | DeadWorker | None:
        return self._listed.get(self.query_one("#all", KeyedTable).current or "")

    @property
    def _chosen(self) -> WorkerRow | None:
        """The worker to give orders to."""
        return row if isinstance(row := self._current, WorkerRow) else None

    def can_act(self, action: str) -> bool:
        """Start a worker if none is running; give orders to the one under the cursor."""
        match action:
            case "start":
                return not self._supervisor.alive
            case "pace" | "pause_one" | "end_one":
                return self.alive and self._chosen is not None
        return super().can_act(action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what suits the state of this console's worker."""
        if action in ("stop", "force", "restart", "reset", "leave"):
            return self._supervisor.alive
        return super().check_action(action, parameters)

    def action_start(self) -> None:
        """Start this console's worker."""
        self._supervise(self._supervisor.start)

    def action_stop(self) -> None:
        """Stop it once it has finished its tasks."""
        self._supervise(self._supervisor.stop)

    def action_force(self) -> None:
        """Stop it at once; it returns its tasks to the queue."""
        self._supervise(self._supervisor.force)

    def action_restart(self) -> None:
        """Restart it."""
        self._supervise(self._supervisor.restart)

    def action_leave(self) -> None:
        """Leave it running on its own."""
        self._supervise(self._supervisor.leave)

    def action_reset(self) -> None:
        """Stop it at once, return its tasks to the queue, and start it again."""

        async def reset() -> None:
            returned = await self._supervisor.reset()
            self.desk.dialogs.notify(f"Worker reset; {count(returned, 'task')} returned to the queue")

        self._supervise(reset)

    @work(group="supervise", exit_on_error=False)
    async def _supervise(self, do: Callable[[], Awaitable[object]]) -> None:
        # Not exclusive: a stop in progress may be followed by a forced one.
        with self.desk.dialogs.telling("This console's worker"):
            await do()
        self._draw()
        self.session.again()

    @work(group="pace", exit_on_error=False)
    async def action_pace(self, by: int) -> None:
        """Let the selected worker process more or fewer batches at once, on any host."""
        row = self._chosen
        if row is None:
            return
        wanted = min(max(self._paced(row) + by, 1), MOST_CONCURRENCY)
        self._asked[row.id] = (wanted, time.monotonic())
        async with self._pacing:  # in order, so that the last order wins
            if not await set_pace(self.desk, row, wanted):
                self._asked.pop(row.id, None)

    def _paced(self, row: WorkerRow) -> int:
        """A worker's concurrency: what it was just asked for, or else what it reports."""
        wanted, asked_at = self._asked.get(row.id, (0, -ANSWERED_S))
        return wanted if time.monotonic() - asked_at < ANSWERED_S else _concurrency(row)

    @work(exclusive=True, group="order", exit_on_error=False)
    async def action_end_one(self, force: bool) -> None:
        """Shut down the selected worker, on any host."""
        if (row := self._chosen) is not None:
            await end_worker(self.desk, row, force=force)

    def action_pause_one(self) -> None:
        """Pause or resume the selected worker, on any host."""
        if (row := self._chosen) is not None:
            self.alone(partial(pause_worker, row=row))

    @work(exclusive=True, group="order", exit_on_error=False)
    async def action_pause(self) -> None:
        """Pause or resume all workers."""
        await pause_or_resume(self.desk)

    @work(exclusive=True, group="order", exit_on_error=False)
    async def action_stop_all(self) -> None:
        """Stop all workers on all hosts, or lift a stop."""
        await stop_or_start(self.desk)

    def action_copy(self) -> None:
        """Copy the log."""
        lines = self._supervisor.log.since(0, limit=LOG_LINES)
        self.to_clipboard("\n".join(line.text for line in lines), count(len(lines), "line"))


def _concurrency(row: WorkerRow) -> int:
    found = row.settings.get("concurrency")
    return found if isinstance(found, int) else 1
