"""The audit log, past and live."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime
from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from embedq_tui.execution.undo import operation_of
from embedq_tui.filters.audit_filter import EXAMPLE, Wanted, complete, parse_filter
from embedq_tui.live.questions import Answer, Question
from embedq_tui.rendering.audit_lines import document
from embedq_tui.rendering.documents import plain
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.lines import audit_text
from embedq_tui.rendering.styles import BAD, DOUBTFUL, GOOD, QUIET
from embedq_tui.screens.audit.questions import FollowLog, OlderRows, OnePage
from embedq_tui.screens.audit.render import audit_detail
from embedq_tui.screens.audit.roll import AuditRoll
from embedq_tui.screens.exporting import export
from embedq_tui.screens.filtering import Filtering
from embedq_tui.screens.frame import spread
from embedq_tui.screens.paging import all_pages
from embedq_tui.widgets.lines import Line
from embedq_tui.widgets.log_list import LogList
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.audit import LEVELS, AuditRow
from embedq_worker.text import printable_line


class AuditScreen(Filtering[Wanted]):
    """The growing log. At its end it follows new rows; anywhere else the current row stays in place."""

    MODE = "audit"
    EXAMPLE = EXAMPLE
    AUTO_FOCUS = "#rows"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "detail", "Details", id="audit.detail", tooltip="Show the full row, with its error"),
        Binding("o", "open_task", "Task", id="audit.task", tooltip="Open the row's task"),
        Binding(
            "slash",
            "filter",
            "Filter",
            id="audit.filter",
            priority=True,  # what is typed next goes into the line and is never taken for commands
            tooltip=f"Filter: {EXAMPLE}",
        ),
        Binding("v", "level", "Level", id="audit.level", tooltip="Minimum level: info, warn, error, or all"),
        Binding("u", "undo_row", "Undo", id="audit.undo", tooltip="Undo the row's operation"),
        Binding(
            "e",
            "export",
            "Export",
            show=False,
            id="audit.export",
            tooltip="Export all matching rows to a file",
        ),
        Binding("y", "copy", "Copy", show=False, id="audit.copy", tooltip="Copy the full row"),
        Binding("left_square_bracket", "older", "Older", show=False, id="audit.older"),
        Binding("right_square_bracket", "newer", "Newer", show=False, id="audit.newer"),
        Binding(
            "escape",
            "back",
            "Back",
            show=False,
            id="audit.back",
            tooltip="Close details, then clear the filter",
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (150, "-wide")]
        self._error: EmbedqError | None = None
        self._reading: AuditRoll | None = None
        # References instead of queries: when the console closes, nested widgets are removed first.
        self._rows: LogList[AuditRow] = LogList(lambda row: row.id, self._line, id="rows")
        self._fields = Static(id="fields")
        self._detail = VerticalScroll(self._fields, id="detail")
        self._detail.border_title = "Row"
        self._about(Wanted())

    def _about(self, wanted: Wanted) -> None:
        self._roll = AuditRoll(wanted)
        self._question = FollowLog(self._roll)

    # -- overrides

    def body(self) -> ComposeResult:
        """The filter and position, the filter line, the log, a row in full."""
        yield Line(id="about")
        yield from self.filter_widgets()
        with Container(id="log"):
            yield self._rows
            yield self._detail

    def questions(self) -> Iterable[Question[Any]]:
        """The question for new rows."""
        yield self._question

    def answered(self, answer: Answer[Any]) -> None:
        """Show new rows."""
        self._error = answer.error
        self._draw()

    def freeze(self, frozen: bool) -> None:
        """Freeze the display; unfreezing jumps to the end and follows."""
        if frozen:
            self._roll.hold(still=True)
        elif self.frozen:
            self._roll.follow()
            self._rows.following = True
        super().freeze(frozen)
        self._draw()

    def draw_frame(self) -> None:
        """Also update the position, which counts rows not shown."""
        super().draw_frame()
        if self.alive:
            self._draw_about()

    # -- drawing

    def _line(self, row: AuditRow, width: int) -> Text:
        return audit_text(row, width, self._today)

    @property
    def _today(self) -> date:
        now: datetime | None = self.store.now()
        return (now or datetime.now().astimezone()).astimezone().date()

    def _draw(self) -> None:
        if not self.alive:
            return
        rows = self._roll.rows
        if rows != self._rows.items:
            self._rows.show(rows)
        self._draw_detail()
        self._draw_about()
        row = self._rows.current
        self.offer(row is not None and row.task_id is not None, row is not None and operation_of(row))

    def _draw_about(self) -> None:
        self.query_one("#about", Line).say(spread(self._wanted(), self._place(), self.size.width))

    def _wanted(self) -> Text:
        wanted = self._roll.wanted
        typed = wanted.typed or f"level:{wanted.filter.level}"
        return Text(f" {printable_line(typed, 200)}", "" if wanted.typed else QUIET)

    def _place(self) -> Text:
        roll, rows = self._roll, self._rows
        if self._error is not None:
            return Text(f"{printable_line(self._error.line)} ", BAD)
        if not roll.begun:
            return self.unknown("loading").append(" ")
        if not rows.items:
            return Text("no rows match ", QUIET)
        where = f"row {rows.place + 1:,} of {len(rows.items):,}{'+' if roll.has_older else ''}  "
        if self._reading is roll:
            return Text.assemble((where, QUIET), ("loading older ", QUIET))
        if self.frozen:
            since = f"{self._newer()} since, {key('screen.freeze')}: unfreeze "
            return Text.assemble((where, QUIET), (since, DOUBTFUL))
        if roll.newer or not roll.joined:
            return Text.assemble(
                (where, QUIET), (f"{self._newer()} below, {key('log.last')}: to the end ", DOUBTFUL)
            )
        if roll.earlier and rows.following:
            above = f"{roll.earlier:,} new above, by their times, {key('audit.older')}: page up "
            return Text.assemble((where, QUIET), (above, DOUBTFUL))
        follows = ("following ", GOOD) if rows.following else (f"{key('log.last')}: follow ", QUIET)
        return Text.assemble((where, QUIET), follows)

    def _newer(self) -> str:
        return f"{self._roll.newer:,}{'' if self._roll.newer_exact else '+'} new"

    def _draw_detail(self) -> None:
        if self.has_class("-detailed"):
            row = self._rows.current
            self._fields.update(audit_detail(row) if row else Text("no row", QUIET))

    # -- the list

    @on(LogList.Moved)
    def _moved(self, event: LogList.Moved) -> None:
        roll, rows = self._roll, self._rows
        if self.frozen:
            rows.following = False
        elif event.at_end and (roll.joined or event.beyond):
            roll.follow()
            rows.following = True
        else:
            roll.hold()
            rows.following = False
        self._detail.scroll_home(animate=False)
        self._draw()

    @on(LogList.AtStart)
    def _at_start(self) -> None:
        self._go_older(1)

    @on(LogList.Selected)
    def _selected(self) -> None:
        self.action_detail()

    def _go_older(self, lines: int) -> None:
        """Load rows before the first one; a key held down loads them only once."""
        if self._roll.has_older and self._reading is not self._roll:
            self._reading = self._roll
            self._draw_about()
            self._read_older(self._roll, lines)

    @work(exclusive=True, group="older", exit_on_error=False)
    async def _read_older(self, roll: AuditRoll, lines: int) -> None:
        """Load the page before the first row, and move up into it."""
        found = 0
        try:
            with self.desk.dialogs.telling("Loading failed"):
                found = await self.session.ask(OlderRows(roll))
        finally:
            if self._reading is roll:
                self._reading = None
        if found and roll is self._roll:
            self._rows.following = False
            self._draw()
            self._rows.action_move(-lines)

    def action_older(self) -> None:
        """Move a page up, loading older rows if necessary."""
        if self._rows.place > 0:
            self._rows.action_page(-1)
        else:
            self._go_older(max(self._rows.size.height - 1, 1))

    def action_newer(self) -> None:
        """Move a page down."""
        self._rows.action_page(1)

    # -- filter

    def filter_text(self) -> str:
        """The current filter as text."""
        return self._roll.wanted.typed

    def parsed(self, text: str) -> Wanted:
        """Parse a filter."""
        return parse_filter(text)

    def completed(self, text: str) -> str | None:
        """Complete keys, levels and categories."""
        return complete(text)

    def back_to_list(self) -> None:
        """Focus the log."""
        self.set_focus(self._rows)

    def look_for(self, wanted: Wanted) -> None:
        """Apply another filter."""
        self.store.forget(self._question)
        self._error = None
        self._about(wanted)
        self._rows.following = True
        if self.frozen:
            super().freeze(False)
        self._draw()
        self.ask_again()

    def action_level(self) -> None:
        """Change the minimum level."""
        cycle = (*LEVELS[1:], LEVELS[0])
        wanted = self._roll.wanted
        at = cycle.index(wanted.filter.level) if wanted.filter.level in cycle else -1
        self.look_for(wanted.at_level(cycle[(at + 1) % len(cycle)]))

    def action_back(self) -> None:
        """Close the filter line or the details; then clear the filter."""
        if self.editing:
            self.close_filter()
        elif self.has_class("-detailed"):
            self.action_detail()
        elif self._roll.wanted.typed:
            self.look_for(Wanted())

    # -- the row under the cursor

    def action_detail(self) -> None:
        """Show or hide the full row. It stays the same row while new ones arrive."""
        self.toggle_class("-detailed")
        if self.has_class("-detailed"):
            self._rows.following = False
            self._roll.hold()
        else:
            self.set_focus(self._rows)
        self._draw()

    def action_open_task(self) -> None:
        """Open the row's task."""
        row = self._rows.current
        if row is not None and row.task_id is not None:
            self.console.show_task(row.task_id)

    @work(exclusive=True, group="act", exit_on_error=False)
    async def action_undo_row(self) -> None:
        """Undo the row's operation."""
        row = self._rows.current
        if row is not None and (operation := operation_of(row)) is not None:
            await self.desk.executor.history.undo(operation)

    @work(exclusive=True, group="export", exit_on_error=False)
    async def action_export(self) -> None:
        """Export all matching rows to a file, newest first."""
        if (wanted := self._roll.filter) is not None:
            asked = partial(OnePage, wanted)
            pages = all_pages(self.session, asked, lambda page: [document(row) for row in page.rows])
            await export(self.desk, "audit", pages)

    def action_copy(self) -> None:
        """Copy the row."""
        if (row := self._rows.current) is not None:
            self.to_clipboard(json.dumps(plain(document(row)), ensure_ascii=False, indent=2), "the row")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what can be done with the row."""
        if action not in ("undo_row", "open_task", "copy") or not self.alive:
            return super().check_action(action, parameters)
        row = self._rows.current
        match action:
            case "undo_row":  # on other rows the key falls through to the global undo
                return row is not None and operation_of(row) is not None
            case "open_task":
                return row is not None and row.task_id is not None
        return row is not None
