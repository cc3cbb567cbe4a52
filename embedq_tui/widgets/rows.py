"""What a table shows: columns, and rows whose cells may age."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from rich.text import Text


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        key: Its identifier.
        label: Its heading.
        width: In cells; 0 for a share of the remaining width.
        hidden_below: Table width, in cells, below which it is not shown.
        right: Right-aligned, as for numbers.
    """

    key: str
    label: str
    width: int
    hidden_below: int = 0
    right: bool = False


@dataclass(frozen=True, slots=True)
class Aged:
    """A cell that tells how long ago something was; it is redrawn only when its words change.

    Attributes:
        at: When that was.
        words: What to show, given the seconds since then; one function for all rows, as rows are compared.
        style: The style of the words.
    """

    at: datetime
    words: Callable[[float], str]
    style: str = ""

    def told(self, now: datetime | None) -> str:
        """The words to show now; none while the time is unknown."""
        return "" if now is None else self.words((now - self.at).total_seconds())


Cell: TypeAlias = Text | Aged


@dataclass(frozen=True, slots=True)
class Row:
    """A row.

    Attributes:
        key: An id, never a position.
        cells: One per column, including hidden ones; database text must already be made safe.
    """

    key: str
    cells: tuple[Cell, ...]
