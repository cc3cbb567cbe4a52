"""A table with keyed rows: cursor, marks and scroll position stay with their row while data changes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widgets import DataTable

from embedq_tui.widgets.rows import Aged, Column, Row

MARK = "●"

_SIDEWAYS = {"scroll_left", "scroll_right", "cursor_left", "cursor_right"}

SETTLE_S = 0.4
"""Seconds a row must have been under the cursor before a key press is taken to mean it."""


class KeyedTable(DataTable[None]):
    """Shows up to a few hundred rows.

    Textual knows only the rows' keys and the total width. The lines are drawn here: if one cell changes,
    Textual renders every visible cell anew, and keeps the outdated ones in its caches.

    Args:
        columns: Left to right.
        markable: Rows can be marked.
        opens: Rows can be opened.

    Attributes:
        came: Its owner has the rows it wants: the first ones, those of another page or filter.
        marked: Keys of the marked rows, some of which may be on other pages.
    """

    DEFAULT_CSS = "KeyedTable { height: 1fr; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False, id="table.down"),
        Binding("k", "cursor_up", show=False, id="table.up"),
        Binding("h", "scroll_left", "Scroll left", show=False, id="table.left"),
        Binding("l", "scroll_right", "Scroll right", show=False, id="table.right"),
        Binding("g,home", "scroll_top", show=False, id="table.top"),
        Binding("G,end", "scroll_bottom", show=False, id="table.bottom"),
        Binding("space", "mark", "Mark", id="table.mark"),
        Binding("enter", "select_cursor", "Open", id="table.open", tooltip="Open the row under the cursor"),
        Binding("a", "mark_all", "Mark all", show=False, id="table.mark_all"),
    ]

    @dataclass
    class Marked(Message):
        """The marks changed."""

        table: KeyedTable

        @property
        def control(self) -> KeyedTable:
            """The table, for selectors."""
            return self.table

    @dataclass
    class AtEdge(Message):
        """The operator tried to move beyond the last row, or the first."""

        table: KeyedTable
        forward: bool
        jumped: bool = False
        """The cursor jumped to the very first row."""

        @property
        def control(self) -> KeyedTable:
            """The table, for selectors."""
            return self.table

    def __init__(
        self, columns: Sequence[Column], *, markable: bool = False, opens: bool = False, id: str | None = None
    ) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False, id=id, cell_padding=1)
        self._all_columns = (Column("mark", " ", 1), *columns) if markable else tuple(columns)
        self._shown: tuple[int, ...] = ()
        self._widths: tuple[int, ...] = ()
        self._rows: tuple[Row, ...] = ()
        self._now: datetime | None = None
        self._markable = markable
        self._opens = opens
        self._hidden: Set[str] = frozenset()
        self._replaced_at = -SETTLE_S
        self.came = False
        self.marked: set[str] = set()

    # -- for its users

    @property
    def current(self) -> str | None:
        """The key of the row under the cursor."""
        return self._rows[self.cursor_row].key if 0 <= self.cursor_row < len(self._rows) else None

    @property
    def chosen(self) -> tuple[str, ...]:
        """The keys of the marked rows, or of the row under the cursor."""
        if self.marked:
            return tuple(sorted(self.marked))
        return (self.current,) if self.current is not None else ()

    @property
    def settled(self) -> bool:
        """Whether the operator has seen what is `chosen`: no other row has just come under the cursor."""
        return bool(self.marked) or time.monotonic() - self._replaced_at >= SETTLE_S

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the rows, top to bottom."""
        return tuple(row.key for row in self._rows)

    @property
    def in_view(self) -> Set[str]:
        """The keys of the rows that are not scrolled out."""
        return {self._rows[at].key for at in self._visible}

    def show(
        self,
        rows: Iterable[Row],
        *,
        now: datetime | None = None,
        at: int | None = None,
        follow: bool = False,
        held: bool = False,
    ) -> None:
        """Show these rows; cursor and marks stay with theirs.

        Args:
            rows: Top to bottom.
            now: The time for cells that age.
            at: Move the cursor to this row instead; -1 for the last.
            follow: Keep the cursor on the first row, whichever that is.
            held: Keep the rows in their places on the screen. Otherwise a list that shows its first row shows
                what comes above it, as long as there is room for the cursor.
        """
        self.came = True
        before = self.current
        wanted = tuple(rows)
        if [row.key for row in wanted] == [row.key for row in self._rows]:
            self._update(wanted, now)
        else:
            self._now = now
            self._replace(wanted, held=held)
        if (place := 0 if follow and at is None else at) is not None and self.row_count:
            row = place % self.row_count
            if row != self.cursor_row:
                self.move_cursor(row=row, animate=False)
            if row == 0:
                self.scroll_to(y=0, animate=False, force=True)
        if at is None and before not in (None, self.current):
            self._replaced_at = time.monotonic()

    def tick(self, now: datetime) -> None:
        """Let the cells age."""
        self._update(self._rows, now)

    def hide(self, columns: Set[str]) -> None:
        """Hide these columns, by key, and no others: what every row would say need not be said in each."""
        if columns != self._hidden:
            self._hidden = columns
            self.on_resize()

    def unmark(self, keys: Iterable[str] | None = None) -> None:
        """Clear these marks, or all."""
        gone = self.marked & set(keys) if keys is not None else set(self.marked)
        self.marked -= gone
        self._draw_marks(gone)
        if gone:
            self.post_message(self.Marked(self))

    # -- keys

    def action_mark(self) -> None:
        """Mark or unmark the row under the cursor, and move to the next."""
        if self._markable and self.current is not None:
            self.marked ^= {self.current}
            self._draw_marks({self.current})
            self.post_message(self.Marked(self))
            super().action_cursor_down()

    def action_mark_all(self) -> None:
        """Mark all rows shown; if all are marked, unmark everything."""
        if not self._markable:
            return
        shown = set(self.keys)
        self.marked = set() if shown <= self.marked else self.marked | shown
        self._draw_marks(shown)
        self.post_message(self.Marked(self))

    def action_cursor_down(self) -> None:
        """Move down; at the last row, let the owner decide."""
        if self.cursor_row >= self.row_count - 1:
            self.post_message(self.AtEdge(self, forward=True))
        super().action_cursor_down()

    def action_cursor_up(self) -> None:
        """Move up; at the first row, let the owner decide."""
        if self.cursor_row <= 0:
            self.post_message(self.AtEdge(self, forward=False))
        super().action_cursor_up()

    def action_page_down(self) -> None:
        """Move a page down; at the last row, let the owner decide."""
        if self.cursor_row >= self.row_count - 1:
            self.post_message(self.AtEdge(self, forward=True))
        super().action_page_down()

    def action_page_up(self) -> None:
        """Move a page up; at the first row, let the owner decide."""
        if self.cursor_row <= 0:
            self.post_message(self.AtEdge(self, forward=False))
        super().action_page_up()

    def action_scroll_top(self) -> None:
        """Jump to the first row, and tell the owner."""
        super().action_scroll_top()
        self.post_message(self.AtEdge(self, forward=False, jumped=True))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what applies: to mark or open rows that can be, greyed out before they come; to scroll."""
        if action in _SIDEWAYS:  # else the keys are the screen's, and its help names them
            return self.allow_horizontal_scroll
        there = bool(self._rows) if self.came else None
        if action in ("mark", "mark_all"):
            return self._markable and there
        if action == "select_cursor":
            return self._opens and there
        return super().check_action(action, parameters)

    # -- drawing

    def on_resize(self) -> None:
        """Fit the columns to the width."""
        shown, widths = self._fit(self.size.width)
        if (shown, widths) != (self._shown, self._widths):
            self._shown, self._widths = shown, widths
            self._replace(self._rows, columns=True)

    def _fit(self, width: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        shown = tuple(
            at
            for at, column in enumerate(self._all_columns)
            if column.hidden_below <= width and column.key not in self._hidden
        )
        columns = [self._all_columns[at] for at in shown]
        fixed = sum(column.width for column in columns) + 2 * self.cell_padding * len(columns)
        shares = sum(column.width == 0 for column in columns)
        rest = max((width - fixed - 1) // max(shares, 1), 8)  # one cell for the scroll bar
        return shown, tuple(column.width or rest for column in columns)

    def _update(self, wanted: tuple[Row, ...], now: datetime | None) -> None:
        """Redraw the visible rows that change."""
        before, self._rows = self._rows, wanted
        since, self._now = self._now, now
        self._redraw(
            at
            for at in self._visible
            if wanted[at] != before[at] or any(cell.told(since) != cell.told(now) for cell in self._aged(at))
        )

    def _aged(self, at: int) -> Iterator[Aged]:
        return (cell for cell in self._rows[at].cells if isinstance(cell, Aged))

    @property
    def _visible(self) -> range:
        above, height = self.scroll_offset.y, self.size.height - self._heading
        return range(above, min(above + height, len(self._rows)))

    @property
    def _heading(self) -> int:
        """Lines of the heading."""
        return self.header_height if self.show_header else 0

    def _redraw(self, rows: Iterable[int]) -> None:
        above, width = self.scroll_offset.y - self._heading, self.size.width
        if lines := [Region(0, at - above, width, 1) for at in rows]:
            self.refresh(*lines)

    def _replace(self, wanted: tuple[Row, ...], *, columns: bool = False, held: bool = True) -> None:
        current = self._survivor({row.key for row in wanted})
        above = self.cursor_row - self.scroll_offset.y
        if not held and not self.scroll_offset.y:
            above = max(above, self.size.height - self._heading - 1)  # hidden, it has no height
        self._rows = wanted
        if not self._shown:
            return  # no size yet
        with self.app.batch_update():
            self.clear(columns=columns)
            if columns:
                padding = 2 * self.cell_padding
                self.add_column("", width=sum(self._widths) + padding * (len(self._widths) - 1))
            for row in wanted:
                self.add_row(key=row.key)
            keys = [row.key for row in wanted]
            at = keys.index(current) if current in keys else 0
            if keys:
                self.move_cursor(row=at, animate=False, scroll=False)
                self.scroll_to(y=max(at - above, 0), animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        """Draw a line."""
        if y < self._heading:
            return self._drawn(self._labels, self.get_component_rich_style("datatable--header"))
        at, style = y - self._heading + self.scroll_offset.y, self.rich_style
        if at >= len(self._rows):
            return Strip.blank(self.size.width, style)
        style += Style(meta={"row": at, "column": 0})  # for the mouse
        if self._show_hover_cursor and at == self.hover_coordinate.row:
            style += self.get_component_rich_style("datatable--hover")
        if at != self.cursor_row:
            return self._drawn(self._cells(self._rows[at]), style)
        cursor = self.get_component_rich_style("datatable--cursor")
        return self._drawn(self._cells(self._rows[at]), style + cursor, Style(color=cursor.color))

    @property
    def _labels(self) -> list[Text]:
        return [Text(self._all_columns[at].label) for at in self._shown]

    def _cells(self, row: Row) -> Iterator[Text]:
        mark = (Text(MARK if row.key in self.marked else " "),) if self._markable else ()
        cells = (*mark, *row.cells)
        for cell in [cells[at] for at in self._shown]:
            yield Text(cell.told(self._now), cell.style) if isinstance(cell, Aged) else cell

    def _drawn(self, cells: Iterable[Text], style: Style, over: Style | None = None) -> Strip:
        """A line of cells.

        Args:
            cells: One per column shown.
            style: The style below theirs.
            over: The style above theirs.
        """
        line, pad = Text(), " " * self.cell_padding
        for cell, at, width in zip(cells, self._shown, self._widths, strict=True):
            if cell.cell_len > width:
                cell = cell.copy()
                cell.truncate(width, overflow="ellipsis")
            room = " " * (width - cell.cell_len)
            left, right = (room, "") if self._all_columns[at].right else ("", room)
            line.append(pad + left).append_text(cell).append(right + pad)
        strip = Strip(Segment.apply_style(line.render(self.app.console), style, over))
        first = self.scroll_offset.x
        return strip.crop_extend(first, first + self.size.width, style)

    def _survivor(self, keys: Set[str]) -> str | None:
        """The row under the cursor, or the nearest remaining row below it, or above it."""
        place = self.cursor_row
        near = [row.key for row in (*self._rows[place:], *reversed(self._rows[:place]))]
        return next((key for key in near if key in keys), None)

    def _draw_marks(self, keys: Set[str]) -> None:
        self._redraw(at for at in self._visible if self._rows[at].key in keys)
