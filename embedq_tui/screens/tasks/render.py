"""Tasks as table rows, and the lines above the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.text import Text

from embedq_tui.filters.task_filter import format_filter
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.styles import BAD, DOUBTFUL, HEAD, PRIORITY_STYLES, QUIET, STATUS_STYLES
from embedq_tui.rendering.words import article_of, count
from embedq_tui.screens.paging import next_page
from embedq_tui.screens.tasks.listing import Listing, TaskView
from embedq_tui.widgets.rows import Aged, Cell, Column, Row
from embedq_worker.insights.overview import StatusCounts
from embedq_worker.insights.tasks import TaskRow
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.schema.task_values import STATUSES
from embedq_worker.text import printable_line

COLUMNS = (
    Column("status", "Status", 10),
    Column("priority", "Prio", 6),
    Column("article", "Article", 0),
    Column("attempts", "Tries", 5),
    Column("when", "When", 8),
    Column("kind", "Kind", 6, hidden_below=110),
    Column("created", "Age", 6, hidden_below=120),
    Column("worker", "Worker", 8, hidden_below=130),
    Column("error", "Error", 0),
    Column("id", "Task", 36, hidden_below=170),
)

NAMES = ("all", *STATUSES)
"""The quick filters, in order."""


def short_age(seconds: float) -> str:
    """A duration in six cells: ``45s``, ``12m``, ``3h05m``, ``2d04h``, ``412d``."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3_600, whole // 86_400
    if minutes < 60:
        return f"{minutes}m"
    if hours < 24:
        return f"{hours}h{minutes % 60:02}m"
    return f"{days}d{hours % 24:02}h" if days < 100 else f"{days}d"


def task_row(task: TaskRow) -> Row:
    """A row of `COLUMNS`.

    Args:
        task: Its texts may hold anything.
    """
    failed = task.status == "failed"
    quiet = QUIET if task.status == "completed" else ""
    cells: tuple[Cell, ...] = (
        Text(printable_line(task.status, 10), STATUS_STYLES.get(task.status, "")),
        Text(printable_line(task.priority, 6), PRIORITY_STYLES.get(task.priority, "")),
        _cut(printable_line(article_of(task))),
        Text(f"{task.attempts}/{task.max_attempts}", DOUBTFUL if task.attempts > 1 and not failed else ""),
        Text("unknown", quiet) if task.at is None else Aged(task.at, _when, quiet),
        Text(printable_line(task.operation, 6)),
        Text("") if task.created_at is None else Aged(task.created_at, short_age),
        Text(str(task.worker)[:8] if task.worker else ""),
        _cut(printable_line(task.error), BAD if failed else QUIET),
        Text(str(task.id), QUIET),
    )
    return Row(str(task.id), cells)


def _cut(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _when(seconds: float) -> str:
    """The age of a task's time; ``in 5m`` if it is in the future."""
    return f"in {short_age(-seconds)}" if seconds < -1 else short_age(seconds)


def status_line(counts: StatusCounts | None, chosen: Sequence[str], width: int) -> Text:
    """The quick filters with their counts, abbreviated if they do not fit.

    Args:
        counts: None while unknown.
        chosen: The statuses shown; empty for all.
        width: Available width in cells.
    """
    line = _statuses(counts, chosen, compact=False)
    return line if line.cell_len <= width else _statuses(counts, chosen, compact=True)


def _statuses(counts: StatusCounts | None, chosen: Sequence[str], *, compact: bool) -> Text:
    line = Text()
    for name in NAMES:
        on = (name in chosen) if chosen else name == "all"
        number = None
        if counts is not None:
            number = sum(counts) if name == "all" else getattr(counts, name)
        shown = "" if number is None else f" {_number(number, compact)}"
        line.append(f" {name}{shown} ", f"reverse {HEAD}" if on else STATUS_STYLES.get(name, QUIET))
    return line


def _number(number: int, compact: bool) -> str:
    if not compact or number < 10_000:
        return f"{number:,}"
    return f"{number / 1_000:,.0f}k" if number < 10_000_000 else f"{number / 1_000_000:,.0f}M"


def filter_line(wanted: TaskFilter, marked: int, problem: str) -> Text:
    """The problem, if any; otherwise the number of marked tasks and the filter without its statuses."""
    if problem:
        return Text(printable_line(problem), BAD)
    line = Text()
    if marked:
        line.append(f"{count(marked, 'task')} marked  ", f"bold {DOUBTFUL}")
    if words := format_filter(replace(wanted, statuses=())):
        return line.append(words, HEAD)
    return line if marked else line.append(_keys(), QUIET)


def _keys() -> str:
    filtering, status, saved = key("tasks.filter"), key("tasks.status_next"), key("tasks.saved_filters")
    return f"{filtering} filter  {status} status  {saved} saved"


def place_line(view: TaskView) -> Text:
    """The order, and which part of the list is shown."""
    line = Text.assemble((f"{view.order} first  ", QUIET))
    if view.number > 1:
        line.append(f"page {view.number}  ", HEAD)
    elif view.pinned:
        line.append(f"pinned, {key('table.top')}: follow  ", DOUBTFUL)
    return line


def number_text(listing: Listing, total: int | None) -> Text:
    """How many tasks are shown, and of how many.

    Args:
        listing: The list; its page has arrived.
        total: None if unknown.
    """
    shown = len(listing.tasks)
    if not shown:
        wanted = listing.view.wanted
        if wanted == TaskFilter() and listing.complete:
            return Text("no tasks", QUIET)
        if total not in (0, None):
            return Text("none on this page", DOUBTFUL)
        by_slug = wanted.slug and wanted == TaskFilter(slug=wanted.slug)  # else tasks of it may exist
        return Text(f"no such slug; {key('show.articles')}: by title" if by_slug else "no matches", DOUBTFUL)
    if total is None:
        return Text(f"{shown:,} of many", QUIET)
    if shown >= total:
        return Text(f"{total:,}")
    more = next_page("tasks") if listing.page is not None and listing.page.next is not None else ""
    return Text(f"{shown:,} of {total:,}{more}")
