"""Failed tasks grouped by error: how many, since when, what to do, and actions on just one group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widgets import Static

from embedq_tui.execution.request import Request, give_up, retry
from embedq_tui.live.questions import Answer, Question
from embedq_tui.rendering.styles import BAD
from embedq_tui.screens.actions import ActionScreen, Change
from embedq_tui.screens.exporting import export
from embedq_tui.screens.failures.questions import Groups, InGroup, NewestOf, TrendsOf, of_group
from embedq_tui.screens.failures.render import COLUMNS, TREND, group_lines, head, in_order, row_of, trend_line
from embedq_tui.screens.filtering import show_filtered
from embedq_tui.screens.paging import Paged, Pages, View, all_pages, page_keys
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.text_view import TextView
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.failures import FailureGroup, Failures, GroupCursor, Trends
from embedq_worker.text import printable_line

DRAWN = 40
"""Number of groups of a page, largest first, whose trend is drawn."""

SPANS = (timedelta(hours=1), timedelta(hours=24), timedelta(days=7))
"""The periods a trend can cover."""

STEADY_S = 3.0
"""Seconds after a key press during which rows keep their order, whatever the counts."""

RESTED_S = 0.15
"""Seconds the cursor must rest on a group before its newest tasks are fetched."""


class FailuresScreen(Paged, ActionScreen):
    """The groups above, page by page, the one under the cursor in full below."""

    pages: Pages[View[None, GroupCursor], Failures]
    MODE = "failures"
    BINDINGS: ClassVar[list[BindingType]] = [
        Change("r", "retry", "Retry group", id="failures.retry", tooltip="Retry all tasks of this group"),
        Change(
            "x", "cancel", "Cancel group", id="failures.cancel", tooltip="Give up on all tasks of this group"
        ),
        Binding("J", "scroll_detail(3)", "Scroll", id="failures.down", tooltip="Scroll the details down"),
        Binding("K", "scroll_detail(-3)", show=False, id="failures.up", tooltip="Scroll the details up"),
        Binding("t", "span", "Trend", id="failures.span", tooltip="Trend over the last hour, day or week"),
        Binding(
            "s", "sort", "Sort", show=False, id="failures.sort", tooltip="Sort by size or by the last failure"
        ),
        *page_keys("failures"),
        Binding("y", "copy", "Copy", show=False, id="failures.copy", tooltip="Copy the error"),
        Binding(
            "Y", "copy_group", show=False, id="failures.copy_group", tooltip="Copy the group's fingerprint"
        ),
        Binding(
            "e", "export", "Export", show=False, id="failures.export", tooltip="Export all groups to a file"
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.pages = Pages(View(None), lambda view: Groups(view.starts[-1], self._latest))
        self._latest = False
        self._error: EmbedqError | None = None
        self._newest: dict[str, InGroup] = {}
        self._trends: Trends | None = None
        self._span = 0
        self._order: list[str] = []
        self._touched_at = -STEADY_S
        self._asked = ""
        self._settling: Timer | None = None
        self._head = Text()

    def body(self) -> ComposeResult:
        """A summary, the groups, one of them in full."""
        yield Static(id="head")
        yield KeyedTable(COLUMNS, opens=True, id="groups")
        yield TextView(id="group")

    # -- display

    @property
    def _current(self) -> FailureGroup | None:
        """The group under the cursor."""
        key = self.table.current if self.alive else None
        groups = self.pages.page.groups if self.pages.page else ()
        return next((group for group in groups if group.fingerprint == key), None)

    def questions(self) -> Iterable[Question[Any]]:
        """A page of groups, their trends, and the newest tasks of one."""
        yield self.pages.asked
        if groups := self._drawn:
            yield TrendsOf(groups, SPANS[self._span])
        if self._asked:
            yield NewestOf(self._asked)

    @property
    def _drawn(self) -> tuple[str, ...]:
        """The groups whose trend is drawn."""
        groups = self.pages.page.groups[:DRAWN] if self.pages.page else ()
        return tuple(sorted(group.fingerprint for group in groups))

    def answered(self, answer: Answer[Any]) -> None:
        """Show an answer; after an error the previous one stays."""
        match answer.question, answer.value:
            case NewestOf(group=group), InGroup() as inside:
                self._newest = {group: inside}
                if self.pages.page is not None:
                    self._draw_group(self.store.now() or self.pages.page.at)
                return
            case TrendsOf(), Trends() as trends:
                self._trends = trends
            case Groups() as asked, found:
                self._error = answer.error
                if found is not None:
                    self._show(asked, found)
        self._draw(self.store.now())

    def _show(self, asked: Groups, found: Failures) -> None:
        if not found.groups and self.pages.view.number > 1:
            self.go(self.pages.view.previous(), -1)  # all groups of this page are gone
            return
        drawn = self._drawn
        if asked != self.pages.shown:
            self._order = [group.fingerprint for group in found.groups]
        self.pages.page, self.pages.shown = found, asked
        if self._drawn != drawn:
            self.ask_again()

    def take(self, answer: Answer[Any]) -> None:
        """Even while frozen, show the first answer for a group or a period."""
        new = answer.question == NewestOf(self._asked) and self._asked not in self._newest
        span = SPANS[self._span]
        other = self._trends is not None and self._trends.bar != span / TREND
        if self.alive and (new or (other and answer.question == TrendsOf(self._drawn, span))):
            self.answered(answer)
        else:
            super().take(answer)

    def state_changed(self) -> None:
        """The connection may be lost or restored."""
        self._draw_head()

    def ticked(self, now: datetime) -> None:
        """Update ages, and re-sort the groups once the operator is idle."""
        if self._sorted_anew():
            self._draw(now)
        elif self.pages.page is not None:
            self.table.tick(now)
            self._draw_group(now)

    def _sorted_anew(self) -> bool:
        """Put the groups in the order of their counts, unless the operator is moving.

        Returns:
            Whether that changed their order.
        """
        if self.pages.page is None or time.monotonic() - self._touched_at < STEADY_S:
            return False
        before, self._order = self._order, [group.fingerprint for group in self.pages.page.groups]
        return self._order != before

    def _draw_head(self) -> None:
        found = self.pages.page
        if self._error is not None:
            text = Text(printable_line(self._error.line), BAD)
        else:
            latest = isinstance(self.pages.shown, Groups) and self.pages.shown.latest
            page = self.pages.view.number
            text = self.unknown("Loading ...") if found is None else head(found, page, latest)
        if text != self._head:
            self._head = text
            self.query_one("#head", Static).update(text)
        if found is not None:
            self.offer(bool(found.groups), self.pages.view.number, found.next is None)

    def _draw(self, now: datetime | None) -> None:
        self._draw_head()
        if (found := self.pages.page) is None:
            return
        self._sorted_anew()
        groups = in_order(found.groups, self._order)
        self.table.show_header = bool(groups)
        at = now or found.at
        bars = self._trends.bars if self._trends else {}
        rows = (row_of(group, bars.get(group.fingerprint)) for group in groups)
        if self.pages.arrived:
            self.show_rows(rows, at)
        self._draw_group(at)

    def _draw_group(self, now: datetime) -> None:
        view, group = self.query_one(TextView), self._current
        view.display = group is not None
        if group is None:
            return
        if view.border_title != group.fingerprint:  # Textual repaints the view even for the same one
            view.border_title = group.fingerprint
        trend = trend_line(self._trends, group.fingerprint) if self._trends else None
        inside = self._newest.get(group.fingerprint)
        tasks, folders = inside or (None, ())
        view.show(group_lines(group, tasks, folders, trend, now, view.room))

    # -- turning pages

    def action_sort(self) -> None:
        """Sort by size, or by the time of the last failure."""
        self._latest = not self._latest
        self.go(self.pages.view.first())

    # -- the cursor

    def on_key(self, event: events.Key) -> None:
        """Note the key press: rows keep their order while the operator is moving."""
        self._touched_at = time.monotonic()  # Textual also calls the handler of `ActionScreen`

    @on(KeyedTable.RowHighlighted)
    def _moved(self) -> None:
        """Show another group; its newest tasks follow when the cursor rests."""
        now = self.store.now()
        if self.pages.page is None or now is None:
            return
        group, view = self._current, self.query_one(TextView)
        name = group.fingerprint if group else ""
        if view.border_title != name:
            view.scroll_home(animate=False)
            self._draw_group(now)
        if self._settling is not None:
            self._settling.stop()
        if name != self._asked:
            self._settling = self.set_timer(RESTED_S, self._ask_newest)

    def _ask_newest(self) -> None:
        group = self._current
        self._asked = group.fingerprint if group else ""
        self.ask_again()

    def action_scroll_detail(self, lines: int) -> None:
        """Scroll the details."""
        self.query_one(TextView).scroll_relative(y=lines, animate=False)

    def action_span(self) -> None:
        """Change the period of the trend."""
        self._span = (self._span + 1) % len(SPANS)
        self.ask_again()

    # -- acting

    def can_act(self, action: str) -> bool:
        """Act only on a group."""
        return self._current is not None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done now."""
        if action in ("copy", "copy_group", "export", "scroll_detail", "span"):
            return self._current is not None
        return super().check_action(action, parameters)

    def action_retry(self) -> None:
        """Retry all tasks of this group."""
        self._do_to_group(retry)

    def action_cancel(self) -> None:
        """Cancel all tasks of this group."""
        self._do_to_group(give_up)

    def _do_to_group(self, asked: Callable[..., Request]) -> None:
        if (group := self._current) is not None and self.is_meant():
            error = printable_line(group.error, 60)
            scope = f'failed tasks of group {group.fingerprint}, "{error}"'
            self.carry_out(asked(of_group(group.fingerprint), scope=scope))

    # -- details, copy, export

    @on(KeyedTable.RowSelected)
    def _tasks(self) -> None:
        """Show the tasks of this group."""
        if (group := self._current) is None or not self.is_meant():
            return
        show_filtered(self, "tasks", of_group(group.fingerprint))

    @work(exclusive=True, group="export", exit_on_error=False)
    async def action_export(self) -> None:
        """Export all groups to a file."""
        await export(self.desk, "failures", all_pages(self.session, Groups, lambda page: page.groups))

    def action_copy(self) -> None:
        """Copy the group's newest error, as stored."""
        if (group := self._current) is not None:
            error = group.newest[0].error if group.newest else group.error
            self.to_clipboard(error, error)

    def action_copy_group(self) -> None:
        """Copy the fingerprint, for filters and commands."""
        if (group := self._current) is not None:
            self.to_clipboard(group.fingerprint, group.fingerprint)
