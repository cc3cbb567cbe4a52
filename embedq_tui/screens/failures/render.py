"""Failure groups as table rows, and one of them in full."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from rich.text import Text

from embedq_tui.rendering.advice import advice_here
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.outcomes import folder_words
from embedq_tui.rendering.styles import BAD, GOOD, HEAD, NAME, QUIET
from embedq_tui.rendering.words import ago, article_of, count
from embedq_tui.screens.paging import next_page
from embedq_tui.widgets.rows import Aged, Cell, Column, Row
from embedq_tui.widgets.sparkline import sparkline
from embedq_tui.widgets.text_view import TextLine
from embedq_worker.insights.failures import FOLDERS_OF, FailureGroup, Failures, FolderCount, Trends
from embedq_worker.insights.shares import percentage
from embedq_worker.insights.tasks import TaskRow
from embedq_worker.text import age, printable, printable_line

LONGEST = 4_000
"""Characters shown of a sample error; the task's details have all of it."""

BAR = 5

TREND = 12
"""Number of bars in a trend."""

COLUMNS = (
    Column("group", "Group", 8),
    Column("tasks", "Tasks", 8, right=True),
    Column("share", "Share", BAR + 5),
    Column("trend", "Trend", TREND, hidden_below=100),
    Column("first", "First seen", 11, hidden_below=110),
    Column("last", "Last seen", 11),
    Column("error", "Error", 0),
)


def row_of(group: FailureGroup, trend: Sequence[int] | None) -> Row:
    """A group as a table row.

    Args:
        group: The group.
        trend: Its bars; None if unknown.
    """
    cells = (
        Text(group.fingerprint, NAME),
        Text(f"{group.count:,}"),
        Text(share_bar(group.share) if group.count else ""),
        _bars(trend),
        _age(group.first_seen),
        _age(group.last_seen),
        Text(printable_line(group.error)),
    )
    return Row(group.fingerprint, cells)


def share_bar(share: float) -> str:
    """A share as a bar and a percentage; even the smallest share shows at least one block."""
    blocks = max(round(share * BAR), 1)
    return f"{'█' * blocks}{'░' * (BAR - blocks)} {percentage(share):>4}"


def head(found: Failures, page: int, latest: bool) -> Text:
    """All failures in one sentence.

    Args:
        found: The page shown.
        page: Its number, counted from 1.
        latest: Whether it shows the groups that failed last.
    """
    if not found.failed and not found.groups:
        return Text("No failed tasks.", f"{HEAD} {GOOD}")
    failed = (count(found.failed, "failed task"), f"{HEAD} {BAD}")
    groups = f"{count(len(found.groups), 'group')} by error"
    order = (f", {'latest' if latest else 'largest'} first ({key('failures.sort')}: change)", QUIET)
    if latest:
        return Text.assemble(failed, f", {groups}", order)
    if page == 1 and found.next is None:
        return Text.assemble(failed, f" in {groups}", order)
    turn = next_page("failures") if found.next else ""
    return Text.assemble(failed, f", {groups} on page {page}{turn}", order)


def in_order(groups: Iterable[FailureGroup], order: Sequence[str]) -> list[FailureGroup]:
    """Groups in a previous order; new ones come last, in their own order."""
    places = {fingerprint: place for place, fingerprint in enumerate(order)}
    return sorted(groups, key=lambda group: places.get(group.fingerprint, len(places)))


def trend_line(found: Trends, group: str) -> TextLine | None:
    """When the tasks of a group failed, in one line; None if unknown."""
    bars = found.bars.get(group)
    if bars is None:
        return None
    span = age((found.bar * len(bars)).total_seconds())
    change = f"{key('failures.span')}: change"
    if not any(bars):
        return f"None in the last {span} ({change})", ""
    more = "+" if max(bars) >= found.counted else ""
    spark = sparkline(bars, len(bars))
    each = age(found.bar.total_seconds())
    return f"{sum(bars):,}{more} in the last {span} ({change}), per {each}: |{spark:>{len(bars)}}|", ""


def group_lines(
    group: FailureGroup,
    newest: Sequence[TaskRow] | None,
    folders: Sequence[FolderCount],
    trend: TextLine | None,
    now: datetime,
    width: int,
) -> Iterator[TextLine]:
    """A group in full: the advice, where its tasks are, a sample error, its newest tasks.

    Args:
        group: The group, with its sample.
        newest: Its newest tasks; None while unknown.
        folders: Those of more of its newest tasks; empty while unknown.
        trend: From `trend_line`.
        now: The database's time.
        width: Available width in cells.
    """
    retry = f"retry them ({key('failures.retry')})"
    yield f"Advice: {advice_here(group.advice, retry)}", ""
    if trend is not None:
        yield trend
    if folders:
        of = f"Folders of the newest {FOLDERS_OF:,}" if group.count > FOLDERS_OF else "Folders"
        yield f"{of}: {folder_words(folders)}", ""
    sample = newest[0].error if newest else group.newest[0].error if group.newest else ""
    yield f"Newest error, first seen {ago(group.first_seen, now)}, last {ago(group.last_seen, now)}", QUIET
    for line in printable(sample[:LONGEST].replace("\r\n", "\n")).split("\n"):
        yield line, BAD
    if len(sample) > LONGEST:
        yield "(cut here; open a task for the full error)", QUIET
    yield "Newest tasks", QUIET
    for task in newest or ():
        when = age((now - task.at).total_seconds()) + " ago" if task.at else "unknown"
        head = f"  {when:<16} {task.operation} "
        tail = f", {task.attempts} of {task.max_attempts} attempts"
        name = printable_line(article_of(task), max(width - len(head) - len(tail), 10))
        yield f"{head}{name}{tail}", ""


def _bars(trend: Sequence[int] | None) -> Text:
    if trend is None or not any(trend):
        return Text("" if trend is None else "-", QUIET)
    return Text(sparkline(trend, TREND), NAME)


def _age(when: datetime | None) -> Cell:
    return Text("never") if when is None else Aged(when, age)
