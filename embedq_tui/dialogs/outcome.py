"""A report of an outcome or a failure, shown until the operator closes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Button, Static

from embedq_tui.dialogs.dialog import DatabaseLabel, Dialog, button, text_of
from embedq_tui.dialogs.running import Stopped
from embedq_worker.errors import EmbedqError
from embedq_worker.text import printable_line

ROWS = 200
"""Individual outcomes to list; beyond that, only their number."""


@dataclass(frozen=True, slots=True)
class Report:
    """What to report.

    Attributes:
        title: In one line.
        lines: Further lines.
        rows: What was left out, and why.
        bad: It failed.
    """

    title: str
    lines: Sequence[str] = ()
    rows: Sequence[tuple[str, str]] = ()
    bad: bool = False


REST = "What is done stays done. Run it again to continue with the rest."


def broken(error: EmbedqError, done: str, lines: Sequence[str]) -> Report:
    """Report an operation that did not finish.

    Args:
        error: Why it failed, or `Stopped`.
        done: What had been done by then.
        lines: What to do about the rest.
    """
    stopped = isinstance(error, Stopped)
    why = () if stopped else (line for line in (error.message, error.advice) if line)
    return Report(f"{'Stopped' if stopped else 'Failed'}: {done}", [*why, *lines], bad=not stopped)


class Tell(Dialog[None]):
    """Shows a report.

    Args:
        report: What to show.
        database: The database it concerns.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "give_up", "Close", show=False, id="outcome.close")]

    def __init__(self, report: Report, database: DatabaseLabel | None = None) -> None:
        super().__init__(report.title, database, danger=report.bad)
        self._report = report

    def lines(self) -> Iterable[Widget]:
        """The report's lines and rows."""
        yield from (Static(text_of(line)) for line in self._report.lines)
        if self._report.rows:
            yield Static(_rows(self._report.rows))

    def buttons(self) -> Sequence[Button]:
        """A button to close it."""
        return [button("Close", "close", primary=True)]

    def on_mount(self) -> None:
        """Focus the button: enter closes it."""
        super().on_mount()
        self.set_focus(self.query_one("#close"))

    def action_give_up(self) -> None:
        """Close it."""
        self.end(None)


def _rows(rows: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for name, reason in rows[:ROWS]:
        table.add_row(Text(printable_line(name, 60)), Text(printable_line(reason)))
    if len(rows) > ROWS:
        table.add_row(Text(f"and {len(rows) - ROWS:,} more"), Text())
    return table
