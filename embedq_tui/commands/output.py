"""How commands print: text for people, JSON for scripts, errors on standard error.

Every text from outside this program passes through `printable` on its way to a terminal.
"""

from __future__ import annotations

import dataclasses
import json
import select
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TextIO, TypeVar

import click

from embedq_tui.rendering.documents import plain
from embedq_worker.errors import EmbedqError
from embedq_worker.process.imports import uninterrupted
from embedq_worker.text import printable, printable_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

T = TypeVar("T")

PIPE_WIDTH = 10_000
"""Columns of an output that is not a terminal: nothing is cut, a table takes what it needs."""


class OutputError(EmbedqError):
    """The output cannot be written: a full disk, a terminal that is gone.

    Args:
        why: The system's own words.
    """

    def __init__(self, why: str | None) -> None:
        super().__init__(f"the output cannot be written: {why}")


class ReaderGone(OutputError):
    """Whoever read the output closed the pipe."""


def say(line: str = "", *, error: bool = False) -> None:
    """Write a line for people.

    Raises:
        OutputError: It cannot be written.
    """
    _write(printable(line), error=error)


def _write(text: str, *, error: bool = False) -> None:
    # A bare OSError raised while a command reads the database would be mistaken for a database error.
    try:
        click.echo(text, err=error)
    except BrokenPipeError:
        raise ReaderGone("nobody reads it") from None
    except OSError as problem:
        raise OutputError(problem.strerror) from problem


def say_wrapped(line: str, indent: int, *, error: bool = False) -> None:
    """Write a line for people; on a terminal it is wrapped between words, with a hanging indent."""
    if is_terminal(sys.stderr if error else sys.stdout):
        width = max(shutil.get_terminal_size().columns, indent + 20)
        hanging = " " * indent
        line = textwrap.fill(
            line, width, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
        )
    say(line, error=error)


def print_error(message: str, advice: str = "") -> None:
    """Say what is wrong and what to do about it, on standard error."""
    with suppress(OutputError):  # the exit code reports the error too
        say_wrapped(f"embedq-tui: {printable_line(message)}", 2, error=True)
        if advice:
            say_wrapped(f"  {printable_line(advice)}", 2, error=True)


def print_json(value: object, *, compact: bool = False) -> None:
    """Write one JSON document.

    Args:
        value: Dataclasses become objects, times ISO 8601 in UTC, enums their value.
        compact: On one line, for a stream of documents.

    Raises:
        OutputError: It cannot be written.
    """
    # ASCII only: no control character and no bidi mark gets through, whatever the terminal's encoding.
    _write(json.dumps(plain(value), indent=None if compact else 2, allow_nan=False))


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal.

    Args:
        stream: None if it was closed before Python started.
    """
    return stream is not None and stream.isatty()


def require_reader() -> None:
    """Fail if nobody reads the output any more, as the next write would; for commands that rarely write.

    Raises:
        ReaderGone: Whoever read it closed the pipe.
    """
    if sys.stdout is None or sys.stdout.isatty() or not hasattr(select, "poll"):
        return
    polled = select.poll()
    polled.register(sys.stdout.fileno(), 0)
    if any(events & select.POLLERR for _, events in polled.poll(0)):
        raise ReaderGone("nobody reads it")


def console() -> Console:
    """Standard output through rich: colour only on a terminal without NO_COLOR; nothing is cut in a pipe."""
    with uninterrupted():
        from rich.console import Console

    options: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": False}
    if is_terminal(sys.stdout):
        return Console(**options)
    return Console(width=PIPE_WIDTH, force_terminal=False, **options)  # even if a CI job sets FORCE_COLOR


_GAP = 2
"""Cells between two columns."""


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        title: Its heading.
        right: Right-aligned, for numbers.
        wrap: Wrap long texts; otherwise they are cut with an ellipsis.
        least: Minimum width in cells; columns that have one, or wrap, shrink before all others.
    """

    title: str
    right: bool = False
    wrap: bool = False
    least: int | None = None


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Write a table that fits the terminal.

    Args:
        columns: Their headings and layout.
        rows: Taken literally: no markup, control characters replaced.
    """
    with uninterrupted():
        from rich.table import Table
        from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    shown = [[printable_line(cell) for cell in row] for row in rows]
    screen = console()
    roomy = _least_width(columns, shown) <= screen.width
    for column in columns:
        table.add_column(
            Text(column.title),
            justify="right" if column.right else "left",
            no_wrap=not (column.wrap or column.least),  # in rich's terms: it does not shrink
            overflow="fold" if column.wrap else "ellipsis",
            min_width=column.least if roomy else None,  # otherwise rich silently drops the last columns
        )
    for row in shown:
        cells = zip(columns, row, strict=True)
        table.add_row(*(Text(cell, no_wrap=not column.wrap) for column, cell in cells))
    screen.print(table)


def _least_width(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    """Width, in cells, at which every column of a table has its minimum."""
    from rich.cells import cell_len

    kept = 0
    for place, column in enumerate(columns):
        widest = max(cell_len(text) for text in (column.title, *(row[place] for row in rows)))
        kept += column.least or (1 if column.wrap else widest)
    return kept + _GAP * (len(columns) - 1)


def print_wrapped(line: str, *, quiet: bool = False) -> None:
    """Write a line, wrapped between words to the terminal's width; continuation lines keep its indent.

    Args:
        line: Taken literally; control characters replaced.
        quiet: Dimmed, for secondary text.
    """
    with uninterrupted():
        from rich.padding import Padding
        from rich.text import Text

    text = line.lstrip(" ")
    shown = Text(printable_line(text), style="dim" if quiet else "")
    console().print(Padding(shown, (0, 0, 0, len(line) - len(text)), expand=False))


def confirm(question: str) -> bool:
    """Ask for confirmation on a terminal; the answer is no by default, and if nobody can be asked.

    Args:
        question: Says exactly what will happen.
    """
    if not is_terminal(sys.stdin):
        print_error(f"not confirmed: {question}", "add --yes to run without a terminal")
        return False
    return click.confirm(printable(question), default=False, err=True)


@dataclasses.dataclass(slots=True)
class SoFar(Generic[T]):
    """The progress of a running operation, kept so that it can be reported if it is interrupted.

    Attributes:
        value: State after the last batch; initially the state before the first.
    """

    value: T


class Bar:
    """A progress bar on standard error; none if that is not a terminal.

    Args:
        shown: What draws it, with one task.
    """

    def __init__(self, shown: Progress | None) -> None:
        self._shown = shown

    def reached(self, done: int) -> None:
        """Show the number reached."""
        if self._shown is not None:
            self._shown.update(self._shown.task_ids[0], completed=done)

    def say(self, line: str, *, error: bool = False) -> None:
        """Write a line for people, as `say` does, on a line of its own and not behind the bar.

        Raises:
            OutputError: It cannot be written.
        """
        if self._shown is None:
            say(line, error=error)
            return
        self._shown.stop()
        say(line, error=error)
        self._shown.start()


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Bar]:
    """Show a progress bar during the block.

    Args:
        label: What is counted.
        total: The number to reach; None if unknown.

    Yields:
        The bar. During the block, lines are written by its `Bar.say`.
    """
    if not is_terminal(sys.stderr):
        yield Bar(None)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    with _live(TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as shown:
        shown.add_task(label, total=total)
        yield Bar(shown)


@contextmanager
def waiting() -> Iterator[None]:
    """Show for how long the block has been waiting; nothing if standard error is not a terminal."""
    if not is_terminal(sys.stderr):
        yield
        return
    from rich.progress import TextColumn, TimeElapsedColumn

    with _live(TextColumn("Waiting for an answer"), TimeElapsedColumn()) as shown:
        shown.add_task("")
        yield


def _live(*columns: ProgressColumn) -> Progress:
    """A line on standard error that is redrawn, and goes at the end."""
    from rich.console import Console
    from rich.progress import Progress

    class CursorStays(Console):
        """A hidden cursor would stay hidden after a signal that ends or stops the command."""

        def show_cursor(self, show: bool = True) -> bool:
            return False

    # A redirected standard output would become standard error, and one that was closed would be an error.
    return Progress(*columns, console=CursorStays(stderr=True), transient=True, redirect_stdout=False)
