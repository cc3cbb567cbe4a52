"""The list of tasks: filter, sort, page, mark, act."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from embedq_tui.execution.request import cancel, give_up, retry, retry_waiting
from embedq_tui.filters.task_filter import EXAMPLE, complete, format_filter, parse_filter
from embedq_tui.live.questions import Answer, Question
from embedq_tui.rendering.words import article_of
from embedq_tui.screens.actions import Change
from embedq_tui.screens.exporting import export
from embedq_tui.screens.frame import spread
from embedq_tui.screens.page_list import PageList
from embedq_tui.screens.paging import all_pages, page_keys
from embedq_tui.screens.tasks.actions import TaskActions
from embedq_tui.screens.tasks.listing import Listing, TaskView
from embedq_tui.screens.tasks.questions import Exported, Matching, TaskList
from embedq_tui.screens.tasks.render import (
    COLUMNS,
    filter_line,
    number_text,
    place_line,
    status_line,
    task_row,
)
from embedq_tui.screens.tasks.saved_filters import recall_filter, save_filter
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.lines import Line
from embedq_worker.actions.tasks import Outcome
from embedq_worker.insights.overview import StatusCounts
from embedq_worker.insights.tasks import TaskPage, TaskRow
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.schema.task_values import STATUSES
from embedq_worker.text import printable_line

CRAMPED = 100
"""Width below which the list does without the status, if the filter is for a single one."""

LATE_S = 0.3
"""Seconds after which the rows of the previous filter are cleared."""


_ALL = "all tasks that match the filter"


class TasksScreen(PageList[TaskFilter], TaskActions):
    """Shows tasks. On the first row of the first page it follows new arrivals; elsewhere the list is held."""

    pages: Listing
    MODE = "tasks"
    EXAMPLE = EXAMPLE
    BINDINGS: ClassVar[list[BindingType]] = [
        # With priority, so that what is typed next goes into the line and is never taken for commands.
        Binding("slash", "filter", "Filter", id="tasks.filter", priority=True),
        Binding("tab", "status(1)", "Next status", show=False, id="tasks.status_next"),
        Binding("shift+tab", "status(-1)", "Previous status", show=False, id="tasks.status_before"),
        Binding("w", "save_filter", "Save filter", show=False, id="tasks.save_filter"),
        Binding("o", "saved_filters", "Saved filters", show=False, id="tasks.saved_filters"),
        Change("R", "sweep_retry", "Retry all", show=False, id="tasks.retry_all", tooltip=f"Retry {_ALL}"),
        Change(
            "X", "sweep_cancel", "Cancel all", show=False, id="tasks.cancel_all", tooltip=f"Cancel {_ALL}"
        ),
        Change(
            "P",
            "sweep_priority",
            "Priority of all",
            show=False,
            id="tasks.priority_all",
            tooltip=f"Change the priority of {_ALL}",
        ),
        Binding(
            "e",
            "export",
            "Export",
            show=False,
            id="tasks.export",
            tooltip="Export the marked tasks, or all that match",
        ),
        *page_keys("tasks"),
        Binding(
            "s",
            "sort",
            "Sort",
            show=False,
            id="tasks.sort",
            tooltip="Sort by newest, oldest or next to be claimed",
        ),
        Binding(
            "escape", "back", "Back", show=False, id="tasks.back", tooltip="Clear the marks, then the filter"
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.pages = Listing()
        self._problem = ""
        self._known: dict[UUID, TaskRow] = {}  # those on this page, and the marked ones on others

    def body(self) -> ComposeResult:
        """Quick filters, the filter, the table."""
        yield Line(id="status")
        yield Line(id="info")
        yield from self.filter_widgets()
        yield KeyedTable(COLUMNS, markable=True, opens=True, id="list")

    @property
    def _counts(self) -> StatusCounts | None:
        """Counts of all tasks, if known."""
        seen = self.store.overview
        return None if seen is None else seen.queue.counts

    # -- asking

    def questions(self) -> Iterable[Question[Any]]:
        """The list's questions."""
        return self.pages.questions()

    def take(self, answer: Answer[Any]) -> None:
        """Note that a page turned to while frozen is a new one."""
        if self.frozen and answer.question == self.pages.asked and not self.pages.arrived:
            self._frozen_at = time.monotonic()
        super().take(answer)

    def answered(self, answer: Answer[Any]) -> None:
        """Show an answer."""
        match answer.question:
            case TaskList() as asked:
                self._problem = "" if answer.error is None else answer.error.message
                if answer.value is not None:
                    self._show(asked, answer.value)
            case Matching(wanted) if answer.error is None:
                self.pages.counted(wanted, answer.value)
        self.draw_lines()
        self.refresh_bindings()

    def _show(self, asked: TaskList, page: TaskPage) -> None:
        here = self.table.keys if asked == self.pages.shown else ()
        others = self.pages.show(asked, page)
        # What has left the page no longer matches, unless newer tasks may have pushed it off.
        if not self.pages.following or self.pages.complete:
            self.table.unmark(set(here) - {str(task.id) for task in self.pages.tasks})
        marked = {UUID(key) for key in self.table.marked}
        self._known = {task.id: task for task in self._known.values() if task.id in marked}
        self._known |= {task.id: task for task in self.pages.tasks}
        rows = map(task_row, self.pages.tasks)
        self.show_rows(rows, page.at, follow=self.pages.following, held=True)
        if others:
            self.ask_again()

    # -- drawing

    def ticked(self, now: datetime) -> None:
        """Update ages."""
        self.table.tick(now)

    def draw_lines(self) -> None:
        """Update the counts, the filter and the position."""
        if not self.alive:
            return
        listing, width = self.pages, self.size.width - 2
        total = listing.total(self._counts)
        number = number_text(listing, total) if listing.arrived else self.unknown()
        self.query_one("#status", Line).say(status_line(self._counts, self.wanted.statuses, width))
        known = len(self.wanted.statuses) == 1 and width < CRAMPED
        self.table.hide({"status"} if known else frozenset())
        chosen = filter_line(self.wanted, len(self.table.marked), self._problem)
        self.query_one("#info", Line).say(spread(chosen, place_line(listing.view).append(number), width))

    # -- the filter

    def filter_text(self) -> str:
        """The current filter as text."""
        return format_filter(self.wanted)

    def parsed(self, text: str) -> TaskFilter:
        """Parse a filter."""
        return parse_filter(text)

    def completed(self, text: str) -> str | None:
        """Complete with known words, and with slugs and ids from the list."""
        tasks = self.pages.tasks
        slugs = dict.fromkeys(task.slug for task in tasks if task.slug)
        return complete(text, slugs, [str(task.id) for task in tasks])

    def look_for(self, wanted: TaskFilter) -> None:
        """Apply another filter."""
        self.go(self.pages.view.filtered(wanted))

    def action_status(self, by: int) -> None:
        """Filter by the next status, or show all."""
        statuses = self.wanted.statuses
        choices: list[tuple[str, ...]] = [(), *((status,) for status in STATUSES)]
        place = choices.index(statuses) if statuses in choices else 0
        self.look_for(replace(self.wanted, statuses=choices[(place + by) % len(choices)]))

    @work(group="ask", exit_on_error=False)
    async def action_save_filter(self) -> None:
        """Save the filter under a name."""
        with self.desk.dialogs.telling("Filter not saved"):
            await save_filter(self.desk, format_filter(self.wanted))

    @work(group="ask", exit_on_error=False)
    async def action_saved_filters(self) -> None:
        """Apply a saved filter."""
        with self.desk.dialogs.telling("No filter applied"):
            text = await recall_filter(self.desk)
            if text is not None:
                self.look_for(parse_filter(text))

    # -- moving

    def go(self, view: TaskView, land: int = 0) -> None:
        """Go to another position."""
        super().go(view, land)
        self.set_timer(LATE_S, self._clear_late)

    def _clear_late(self) -> None:
        """Clear rows of the previous filter if the new ones are late."""
        if self.pages.drop_other():
            self.table.show([], at=self._land)
            self.table.came = False
            self.draw_lines()
            self.refresh_bindings()

    def beyond_first(self) -> None:
        """Follow new arrivals again."""
        if self.pages.arrived:
            self.go(self.pages.view.first())

    def action_sort(self) -> None:
        """Change the sort order."""
        self.go(self.pages.view.turned())

    @on(KeyedTable.RowHighlighted, "#list")
    def _moved(self, event: KeyedTable.RowHighlighted) -> None:
        """Hold the list once the cursor leaves the first row."""
        event.stop()
        if self.pages.following and self.table.cursor_row > 0 and self.pages.tasks:
            if self.pages.hold():
                self.ask_again()
            self.draw_lines()

    @on(KeyedTable.RowSelected, "#list")
    def _open(self, event: KeyedTable.RowSelected) -> None:
        event.stop()
        if event.row_key.value is not None:
            self.console.show_task(UUID(event.row_key.value))

    # -- acting

    def chosen_tasks(self) -> Mapping[UUID, str]:
        """The marked tasks, or the one under the cursor."""
        if not self.alive:
            return {}
        chosen = map(UUID, self.table.chosen)
        return {task: printable_line(article_of(self._known[task]), 60) for task in chosen}

    def chosen_in_view(self) -> bool:
        """Whether all selected tasks are among the visible rows."""
        return set(self.table.chosen) <= self.table.in_view

    def acted(self, outcome: Outcome) -> None:
        """Unmark the tasks acted on, and show the rest as they are now."""
        self.show_result()
        self.table.unmark(map(str, outcome.ids))

    def common_status(self) -> str | None:
        """The status of the selected tasks, some of which may not match the filter."""
        found = {self._known[task].status for task in self.chosen_tasks()}
        return found.pop() if len(found) == 1 else None

    @property
    def _filtered_status(self) -> str | None:
        """The only status that the filter selects."""
        statuses = ("failed",) if self.wanted.group is not None else self.wanted.statuses
        return statuses[0] if len(statuses) == 1 else None

    def can_act(self, action: str) -> bool:
        """Allow sweeps if anything matches, or may match: they do their own counting."""
        if action.startswith("sweep_"):
            return bool(self.pages.tasks) or not self.pages.arrived
        return super().can_act(action)

    def action_sweep_retry(self) -> None:
        """Retry all that match."""
        again = retry_waiting if self._filtered_status == "pending" else retry
        self.carry_out(again(self.wanted))

    def action_sweep_cancel(self) -> None:
        """Cancel all that match."""
        self.carry_out(give_up(self.wanted) if self._filtered_status == "failed" else cancel(self.wanted))

    def action_sweep_priority(self) -> None:
        """Change the priority of all that match."""
        wanted = self.wanted
        self.carry_out_priority(wanted, {}, wanted.only("pending").describe())

    @work(group="ask", exit_on_error=False)
    async def action_export(self) -> None:
        """Write tasks to a file."""
        view, marked = self.pages.view, tuple(map(UUID, self.table.marked))
        if marked:  # some may have been claimed in the meantime, and have no place in the order of claims
            asked = partial(Exported, TaskFilter(ids=marked), view.direction)
        else:
            asked = partial(Exported, view.wanted, view.order)
        total = len(marked) or self.pages.total(self._counts)
        pages = all_pages(self.session, asked, lambda page: page.tasks)
        await export(self.desk, "tasks", pages, total=total)
