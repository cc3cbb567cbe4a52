"""A table with keyed rows: cursor, marks and scroll position stay with their row while data changes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.message import Message
from textual.widgets import DataTable

MARK, MARK_ASCII = "●", "*"

SETTLE_S = 0.4
"""Seconds a row must have been under the cursor before a key press is taken to mean it."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        key: Its identifier.
        label: Its heading.
        width: In cells; 0 for a share of the remaining width.
        least: Table width, in cells, below which the column is hidden.
        right: Right-align the heading, as for numbers.
    """

    key: str
    label: str
    width: int
    least: int = 0
    right: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row.

    Attributes:
        key: An id, never a position.
        cells: One per column, including hidden ones; database text must already be made safe.
    """

    key: str
    cells: tuple[Text, ...]


class KeyedTable(DataTable[Text]):
    """Shows up to a few hundred rows.

    Args:
        columns: Left to right.
        markable: Rows can be marked.
        opens: Rows can be opened.
        ascii_only: Use ASCII characters only.
    """

    DEFAULT_CSS = "KeyedTable { height: 1fr; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False, id="table.down"),
        Binding("k", "cursor_up", show=False, id="table.up"),
        Binding("h", "scroll_left", show=False, id="table.left"),
        Binding("l", "scroll_right", show=False, id="table.right"),
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
        self,
        columns: Sequence[Column],
        *,
        markable: bool = False,
        opens: bool = False,
        ascii_only: bool = False,
        id: str | None = None,  # noqa: A002 - as every widget calls it
    ) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False, id=id, cell_padding=1)
        self._all_columns = (Column("mark", " ", 1), *columns) if markable else tuple(columns)
        self._shown: tuple[int, ...] = ()
        self._widths: tuple[int, ...] = ()
        self._rows: tuple[Row, ...] = ()
        self._markable = markable
        self._opens = opens
        self._mark = MARK_ASCII if ascii_only else MARK
        self._hidden: Set[str] = frozenset()
        self._replaced_at = -SETTLE_S
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

    def show(self, rows: Iterable[Row], *, at: int | None = None, follow: bool = False) -> None:
        """Show these rows; cursor, marks and scroll position stay with theirs.

        Args:
            rows: Top to bottom.
            at: Move the cursor to this row instead; -1 for the last.
            follow: Keep the cursor on the first row, whichever that is.
        """
        before = self.current
        wanted = tuple(rows)
        if wanted != self._rows:
            if [row.key for row in wanted] == [row.key for row in self._rows] and self.row_count:
                self._update(wanted)
            else:
                self._replace(wanted)
        if (place := 0 if follow and at is None else at) is not None and self.row_count:
            row = place % self.row_count
            if row != self.cursor_row:
                self.move_cursor(row=row, animate=False)
            if row == 0:
                self.scroll_to(y=0, animate=False, force=True)
        if at is None and before not in (None, self.current):
            self._replaced_at = time.monotonic()

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
            self._draw_marks([self.current])
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
        """Offer to mark and to open only rows that can be."""
        if action in ("mark", "mark_all"):
            return self._markable and bool(self._rows)
        if action == "select_cursor":
            return self._opens and bool(self._rows)
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
            if column.least <= width and column.key not in self._hidden
        )
        columns = [self._all_columns[at] for at in shown]
        fixed = sum(column.width for column in columns) + 2 * self.cell_padding * len(columns)
        shares = sum(column.width == 0 for column in columns)
        rest = max((width - fixed - 1) // max(shares, 1), 8)  # one cell for the scroll bar
        return shown, tuple(column.width or rest for column in columns)

    def _cells(self, row: Row) -> list[Text]:
        cells = (
            (Text(self._mark if row.key in self.marked else " "), *row.cells) if self._markable else row.cells
        )
        shown = [cells[at] for at in self._shown]
        for cell in shown:  # mark cut text with an ellipsis
            cell.no_wrap, cell.overflow = True, "ellipsis"
        return shown

    def _update(self, wanted: tuple[Row, ...]) -> None:
        with self.app.batch_update():
            for at, (row, before) in enumerate(zip(wanted, self._rows, strict=True)):
                if row == before:
                    continue
                for column, (new, old) in enumerate(zip(self._cells(row), self._cells(before), strict=True)):
                    if new != old:
                        self.update_cell_at(Coordinate(at, column), new)
        self._rows = wanted

    def _replace(self, wanted: tuple[Row, ...], *, columns: bool = False) -> None:
        current = self._survivor({row.key for row in wanted})
        above = self.cursor_row - self.scroll_offset.y
        self._rows = wanted
        if not self._shown:
            return  # no size yet
        with self.app.batch_update():
            self.clear(columns=columns)
            if columns:
                for at, width in zip(self._shown, self._widths, strict=True):
                    column = self._all_columns[at]
                    label = Text(column.label, justify="right" if column.right else "left")
                    self.add_column(label, width=width, key=column.key)
            for row in wanted:
                self.add_row(*self._cells(row), key=row.key)
            keys = [row.key for row in wanted]
            at = keys.index(current) if current in keys else 0
            if keys:
                self.move_cursor(row=at, animate=False, scroll=False)
                self.scroll_to(y=max(at - above, 0), animate=False, force=True)

    def _survivor(self, keys: Set[str]) -> str | None:
        """The row under the cursor, or the nearest remaining row below it, or above it."""
        place = self.cursor_row
        near = [row.key for row in (*self._rows[place:], *reversed(self._rows[:place]))]
        return next((key for key in near if key in keys), None)

    def _draw_marks(self, keys: Iterable[str]) -> None:
        if not self._markable or not self.row_count:
            return
        changed = set(keys)
        for at, row in enumerate(self._rows):
            if row.key in changed:
                mark = self._mark if row.key in self.marked else " "
                self.update_cell_at(Coordinate(at, 0), Text(mark))
