"""Every task: filtered, sorted, page by page; marked and acted on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from embedq_tui.filters.task_filter import format_filter
from embedq_tui.live.questions import Answer, Question
from embedq_tui.output import count
from embedq_tui.rendering.styles import BAD, DOUBTFUL, HEAD, QUIET
from embedq_tui.rendering.task_table import article_of
from embedq_tui.screens.frame import Line, spread
from embedq_tui.screens.tasks.detail import TaskDetailScreen
from embedq_tui.screens.tasks.filtering import TaskFiltering
from embedq_tui.screens.tasks.questions import PAGE, Kept, Matching, TaskList, View
from embedq_tui.screens.tasks.rows import COLUMNS, in_place, status_line, task_row
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_worker.actions.tasks import Outcome
from embedq_worker.insights.tasks import TaskPage, TaskRow
from embedq_worker.queue.wanted import STATUSES, TaskFilter
from embedq_worker.text import printable_line

MOST = 2 * PAGE
"""Rows at most."""

LATE_S = 0.3
"""Seconds after which the rows of the filter before are taken away."""


class TasksScreen(TaskFiltering):
    """Shows tasks.

    On the first row of the first page the list follows whatever comes. Off it, rows keep their places: a task
    leaves only when it no longer matches, and of a list of several pages what is newer waits above.
    """

    MODE = "tasks"
    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "page(1)", "Next", key_display="]", id="tasks.next"),
        Binding(
            "left_square_bracket", "page(-1)", "Previous", key_display="[", show=False, id="tasks.previous"
        ),
        Binding("left_curly_bracket", "page(0)", "First page", key_display="{", show=False, id="tasks.first"),
        Binding("s", "sort", "Sort", show=False, id="tasks.sort", tooltip="The newest or the oldest first"),
        Binding(
            "escape", "back", "Back", show=False, id="tasks.back", tooltip="Clear marks, then the filter"
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._kept = Kept()
        self._tasks: list[TaskRow] = []
        self._page: TaskPage | None = None
        self._shown: TaskList | None = None
        self._problem = ""
        self._counts: dict[TaskFilter, int | None] = {}
        self._names: dict[UUID, str] = {}
        self._following = True
        self._land: int | None = None
        self._fresh_after: float | None = None

    def body(self) -> ComposeResult:
        """Quick filters, the filter, the table."""
        yield Line(id="status")
        yield Line(id="info")
        yield from self.filter_widgets()
        yield KeyedTable(COLUMNS, markable=True, ascii_only=self.console.ascii_only, id="list")

    def on_mount(self) -> None:
        """Take keys."""
        self.set_focus(self._table)
        self._draw_lines()

    @property
    def _table(self) -> KeyedTable:
        return self.query_one("#list", KeyedTable)

    def back_to_list(self) -> None:
        """Take keys in the table."""
        self.set_focus(self._table)

    def offered(self) -> tuple[Iterable[str], Iterable[str]]:
        """Slugs and ids of what is shown."""
        slugs = dict.fromkeys(task.slug for task in self._tasks if task.slug)
        return slugs, [str(task.id) for task in self._tasks]

    def listed(self) -> bool:
        """Whether any match."""
        return bool(self._tasks)

    def exported(self) -> tuple[TaskFilter, int | None]:
        """The marked, else all that match."""
        marked = tuple(map(UUID, self._table.marked))
        return (TaskFilter(ids=marked), len(marked)) if marked else (self.view.wanted, self._total)

    # -- asking

    @property
    def _asked(self) -> TaskList:
        view = self.view
        return TaskList(view.wanted, view.direction, view.starts[-1], self._kept)

    def questions(self) -> Iterable[Question[Any]]:
        """The page; the number of all, where neither the page nor the counts that are kept tell it."""
        yield self._asked
        wanted = self.view.wanted
        if self._plain or (self._page is not None and self._complete):
            return
        if self._counts.get(wanted, 0) is not None:
            yield Matching(wanted)

    @property
    def _plain(self) -> bool:
        """Whether only statuses are asked for, of which counts are kept."""
        wanted = self.view.wanted
        return wanted == TaskFilter(statuses=wanted.statuses)

    @property
    def _complete(self) -> bool:
        """Whether all that match are shown."""
        return self._page is not None and self._page.next is None and self.view.starts == (None,)

    def take(self, answer: Answer[Any]) -> None:
        """A page that was turned to is shown while marks hold the list, and so is what came of an action."""
        if self.frozen and answer.question == self._asked:
            fresh = self._fresh_after is not None and answer.at > self._fresh_after
            if fresh or self._shown != answer.question:
                self._fresh_after = None
                self._frozen_at = time.monotonic()
                self.answered(answer)
                return
        super().take(answer)

    def answered(self, answer: Answer[Any]) -> None:
        """Show an answer."""
        match answer.question:
            case TaskList() as asked:
                self._problem = "" if answer.error is None else answer.error.message
                if answer.value is not None:
                    self._show(asked, answer.value)
            case Matching(wanted) if answer.error is None:
                self._counts = {wanted: answer.value}
        self._draw_lines()
        self.refresh_bindings()

    def _show(self, asked: TaskList, page: TaskPage) -> None:
        whole = self._complete
        tasks: Sequence[TaskRow] = page.tasks
        if asked == self._shown and not self._following:
            tasks = in_place([task.id for task in self._tasks], tasks)[:MOST]
        self._tasks, self._page, self._shown = list(tasks), page, asked
        marked = {UUID(key) for key in self._table.marked}
        self._names = {task: name for task, name in self._names.items() if task in marked}
        self._names |= {task.id: printable_line(article_of(task), 60) for task in self._tasks}
        self._kept.ids = () if self._following else [task.id for task in self._tasks]
        self._draw_rows(page.at, at=self._land, follow=self._following)
        self._land = None
        if not self._following:
            self._pin()
        if whole != self._complete:
            self.ask_anew()

    # -- drawing

    def state_changed(self) -> None:
        """Show counts."""
        self._draw_lines()
        self.refresh_bindings()

    def ticked(self, now: datetime) -> None:
        """Show ages."""
        self._draw_rows(now)

    def on_resize(self) -> None:
        """Fit the lines."""
        self._draw_lines()

    def _draw_rows(self, now: datetime, *, at: int | None = None, follow: bool = False) -> None:
        self._table.show([task_row(task, now) for task in self._tasks], at=at, follow=follow)

    def _draw_lines(self) -> None:
        if not self.alive:
            return
        seen, width = self.store.overview, self.size.width - 2
        counts = None if seen is None else seen.queue.counts
        self.query_one("#status", Line).text = status_line(counts, self.view.wanted.statuses, width)
        self.query_one("#info", Line).text = spread(
            self._filter(), self._place().append(self._number()), width
        )

    def _place(self) -> Text:
        view = self.view
        line = Text.assemble((f"{view.direction} first  ", QUIET))
        if view.page > 1:
            line.append(f"page {view.page}  ", HEAD)
        elif view.pinned:
            line.append("held, g: go on  ", DOUBTFUL)
        return line

    def _filter(self) -> Text:
        if self._problem:
            return Text(printable_line(self._problem), BAD)
        marked = len(self._table.marked)
        line = Text()
        if marked:
            line.append(f"{count(marked, 'task')} marked  ", f"bold {DOUBTFUL}")
        words = format_filter(replace(self.view.wanted, statuses=()))
        if words:
            return line.append(words, HEAD)
        return line if marked else line.append("/ filter  tab status  o saved", QUIET)

    def _number(self) -> Text:
        page = self._page
        if page is None or self._shown != self._asked:
            return self.unknown()
        total = self._total
        if not self._tasks:
            if self.view.wanted == TaskFilter() and self._complete:
                return Text("there are no tasks", QUIET)
            return Text("none match" if total in (0, None) else "none here", DOUBTFUL)
        if total is None:
            return Text(f"{len(self._tasks):,} of many", QUIET)
        return Text(f"{len(self._tasks):,} of {total:,}" if len(self._tasks) < total else f"{total:,}")

    @property
    def _total(self) -> int | None:
        """How many match, exactly; None where that is not known."""
        if self._complete:
            return len(self._tasks)
        seen, wanted = self.store.overview, self.view.wanted
        if self._plain and seen is not None:
            counts = seen.queue.counts
            each: list[int] = [getattr(counts, status) for status in wanted.statuses or STATUSES]
            return sum(each)
        return self._counts.get(wanted)

    # -- moving

    def look_for(self, wanted: TaskFilter) -> None:
        """Show other tasks.

        Args:
            wanted: Which.
        """
        self._go(self.view.filtered(wanted), 0)

    def _go(self, view: View, land: int) -> None:
        """Show another place.

        Args:
            view: Of it.
            land: Row that the cursor is put on; -1 for the last.
        """
        self.view, self._land = view, land
        self._following = view.starts == (None,)
        self._kept = Kept()
        self._draw_lines()
        self.ask_anew()
        self.set_timer(LATE_S, self._clear_late)

    def _clear_late(self) -> None:
        """Rows of another filter do not stay for long under this one."""
        if self._shown is not None and self._shown.wanted != self.view.wanted:
            self._tasks, self._page, self._shown = [], None, None
            self._table.show([], at=self._land)
            self._draw_lines()
            self.refresh_bindings()

    @on(KeyedTable.AtEdge, "#list")
    def _beyond(self, event: KeyedTable.AtEdge) -> None:
        event.stop()
        if self._shown != self._asked:
            return  # a key that is held down turns a page at a time
        if event.forward:
            self._turn(1)
        elif self.view.page == 1:
            self._go(self.view.first(), 0)
        elif not event.jumped:
            self._turn(-1)

    def _turn(self, by: int) -> None:
        view, page = self.view, self._page
        if by > 0 and page is not None and page.next is not None and self._shown == self._asked:
            self._go(view.next(page.next), 0)
        elif by < 0 and view.page > 1:
            self._go(view.previous(), -1)

    @on(KeyedTable.RowHighlighted, "#list")
    def _moved(self, event: KeyedTable.RowHighlighted) -> None:
        """Off the first row: what is seen stays."""
        event.stop()
        if not self._following or self._table.cursor_row <= 0 or not self._tasks:
            return
        self._following = False
        self._kept.ids = [task.id for task in self._tasks]
        self._pin()
        self._draw_lines()

    def _pin(self) -> None:
        """Leave out what comes before a first page that others follow: it would wash away what is seen."""
        page, view = self._page, self.view
        if page is None or page.next is None or view.starts != (None,) or self._shown != self._asked:
            return
        self.view = view.pin(page.tasks[0])
        if self.view != view:
            self._shown = self._asked
            self.ask_anew()

    @on(KeyedTable.RowSelected, "#list")
    def _open(self, event: KeyedTable.RowSelected) -> None:
        event.stop()
        if event.row_key.value is not None:
            self.console.push_screen(TaskDetailScreen(UUID(event.row_key.value)))

    @on(KeyedTable.Marked, "#list")
    def _marked(self, event: KeyedTable.Marked) -> None:
        event.stop()
        self.freeze(bool(event.table.marked))
        self._draw_lines()
        self.refresh_bindings()

    # -- acting

    def chosen_tasks(self) -> Mapping[UUID, str]:
        """The marked ones, else the one under the cursor."""
        if not self.alive:
            return {}
        chosen = map(UUID, self._table.chosen)
        return {task: self._names.get(task, str(task)) for task in chosen}

    def settled(self) -> bool:
        """Whether the rows are those that were asked for, and the one under the cursor was seen."""
        return bool(self._table.marked) or (self._shown == self._asked and self._table.settled)

    def acted(self, outcome: Outcome) -> None:
        """What was done needs no mark any more; what is left is shown as it is now."""
        self._fresh_after = time.monotonic()
        self._table.unmark(map(str, outcome.ids))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What can be done here and now."""
        if action == "page":
            later = self._page is not None and self._page.next is not None
            return later if parameters == (1,) else self.view.page > 1
        return super().check_action(action, parameters)

    # -- keys

    def action_page(self, by: int) -> None:
        """Turn the page; 0 goes to the first."""
        if by:
            self._turn(by)
        else:
            self._go(self.view.first(), 0)

    def action_sort(self) -> None:
        """Turn the order."""
        self._go(self.view.turned(), 0)

    def action_back(self) -> None:
        """Close the line of the filter; else clear the marks, then go on, then clear the filter."""
        if self.editing:
            self.close_filter()
        elif self._table.marked:
            self._table.unmark()
        elif self.frozen:
            self.freeze(False)
        elif self.view.wanted != TaskFilter():
            self.look_for(TaskFilter())
