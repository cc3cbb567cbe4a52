"""A task as lines of text: its facts, its history, its article."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.text import Text

from embedq_tui.rendering.advice import advice_here
from embedq_tui.rendering.article_lines import article_facts
from embedq_tui.rendering.audit_lines import STYLES, details_of
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.lines import labelled
from embedq_tui.rendering.styles import (
    ARTICLE_STYLES,
    BAD,
    DOUBTFUL,
    HEAD,
    NAME,
    PRIORITY_STYLES,
    QUIET,
    STATUS_STYLES,
)
from embedq_tui.rendering.words import article_of, relative, times_of
from embedq_tui.screens.tasks.questions import SHOWN
from embedq_tui.widgets.rows import Aged, Cell
from embedq_tui.widgets.text_view import TextLine
from embedq_worker.insights.articles import ArticleRow
from embedq_worker.insights.detail import ChunkRow, TaskDetail
from embedq_worker.insights.events import Event
from embedq_worker.insights.tasks import TaskRow
from embedq_worker.text import age, printable, printable_line

LONGEST_DETAIL = 2_000
"""Characters of one detail of an event; `embedq-tui show` prints all."""


def _retry() -> str:
    return f"retry it ({key('tasks.retry')})"


def facts(found: TaskDetail, now: datetime, width: int) -> Iterator[Text]:
    """A task at a glance, one fact per line; its times and the advice are shown in full.

    Args:
        found: The task.
        now: The database's time.
        width: Available width in cells.
    """
    task = found.task
    yield labelled("Task").append(str(task.id), NAME).append(f"  {printable_line(article_of(task))}", HEAD)
    state = labelled("State").append(printable_line(task.status), STATUS_STYLES.get(task.status, ""))
    state.append(f"  {printable_line(task.operation)}, priority ")
    state.append(printable_line(task.priority), PRIORITY_STYLES.get(task.priority, ""))
    state.append(f", attempts {task.attempts} of {task.max_attempts}")
    if task.worker is not None:
        state.append(f", worker {task.worker}")
    yield state
    yield from _in_full("Times", "; ".join(_times(task, now)) or "unknown", "", width)
    yield labelled("Timing").append(", ".join(_waits(task, now)) or "unknown")
    if task.error:
        yield labelled("Error").append(printable_line(task.error[:2_000]), BAD)
    if found.advice:
        yield from _in_full("Advice", advice_here(found.advice, _retry()), DOUBTFUL, width)


def _in_full(name: str, words: str, style: str, width: int) -> Iterator[Text]:
    label = labelled(name)
    for line in textwrap.wrap(words, max(width - len(label), 20)):
        yield label.append(line, style)
        label = labelled("")


def _times(task: TaskRow, now: datetime) -> Iterator[str]:
    for name, time in times_of(task):
        local = time.astimezone()
        same_day = local.date() == now.astimezone().date()
        yield f"{name} {local:{'%H:%M:%S' if same_day else '%m-%d %H:%M'}}"


def _waits(task: TaskRow, now: datetime) -> Iterator[str]:
    made, due, claimed, ended = task.created_at, task.scheduled_at, task.processed_at, task.completed_at
    if made is not None:
        yield f"created {_age(now, made)} ago"
    if task.status == "pending":
        if due is not None:
            yield f"due in {_age(due, now)}" if due > now else f"due for {_age(now, due)}"
    elif claimed is not None:
        since = max((time for time in (made, due) if time is not None and time <= claimed), default=None)
        if since is not None:
            yield f"waited {_age(claimed, since)}"
        if task.status == "processing":
            yield f"processing for {_age(now, claimed)}"
        elif ended is not None and ended >= claimed:
            yield f"processed in {_precise((ended - claimed).total_seconds())}"


def _age(later: datetime, earlier: datetime) -> str:
    return age((later - earlier).total_seconds())


def _precise(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 10 else age(seconds)


def history(timeline: Sequence[Event]) -> Iterator[TextLine]:
    """The history of a task, oldest event first."""
    if not timeline:
        yield "No entries in the audit log.", QUIET
    before: datetime | None = None
    for event in timeline:
        yield _event(event, before), STYLES.get(event.level, "")
        for line in _lines(event.error):
            yield f"    {line}", STYLES.get(event.level, BAD)
        before = event.at


def _event(event: Event, before: datetime | None) -> str:
    since = "" if before is None else f"+{_precise((event.at - before).total_seconds())}"
    head = f"{event.at.astimezone():%m-%d %H:%M:%S} {since:>9} {printable_line(event.level):<5}"
    details = (printable_line(detail, LONGEST_DETAIL) for detail in details_of(event))
    return "  ".join([head, printable_line(event.message), *details])


def error(found: TaskDetail) -> Iterator[TextLine]:
    """The error of a task, what to do about it, and the stack trace."""
    if not found.task.error and not found.stack_trace:
        yield "No error.", QUIET
    yield from ((line, "") for line in _lines(found.task.error))
    yield from _cut(found.task.error)
    if found.advice:
        yield "", ""
        yield f"Advice: {advice_here(found.advice, _retry())}", DOUBTFUL
    if found.stack_trace:
        yield "", ""
        yield "Stack trace", HEAD
        yield from ((line, "") for line in _lines(found.stack_trace))
        yield from _cut(found.stack_trace)


def _lines(text: str) -> list[str]:
    return printable(text.replace("\r\n", "\n")).split("\n") if text else []


def _cut(text: str) -> Iterator[TextLine]:
    if len(text) >= SHOWN:
        yield f"(first {SHOWN:,} characters; for the rest run: embedq-tui show TASK_ID)", QUIET


def metadata(value: object) -> Iterator[TextLine]:
    """Metadata, pretty-printed."""
    if value is None:
        yield "No metadata.", QUIET
        return
    pretty = json.dumps(value, indent=2, ensure_ascii=False)
    yield from ((line, "") for line in _lines(pretty[:SHOWN]))
    yield from _cut(pretty)


def article(found: TaskDetail, chunks: Sequence[ChunkRow] | None, width: int) -> Iterator[TextLine]:
    """The article of a task, and its stored chunks.

    Args:
        found: The task.
        chunks: None while unknown.
        width: Available width in cells.
    """
    if found.article is None:
        missing = found.task.article_id is None
        yield ("No article." if missing else f"Article {found.task.article_id} no longer exists."), DOUBTFUL
        return
    yield from _article(found.article, found.at)
    yield "", ""
    if chunks is None:
        yield "Loading its chunks", QUIET
    elif not chunks:
        yield "No chunks stored.", QUIET
    else:
        yield f"{'Chunk':>5}  {'Text':>7}  {'Model':<24}  {'Hash':<8}  Heading", HEAD
        yield from ((_chunk(chunk, width), "") for chunk in chunks)


def _article(one: ArticleRow, now: datetime) -> Iterator[TextLine]:
    yield f"{printable_line(one.title) or 'No title'}", HEAD
    yield f"slug       {printable_line(one.slug)} (article {one.id})", ""
    for name, words in article_facts(one, now):
        yield f"{name:<10} {words}", ARTICLE_STYLES[one.state] if name == "embeddings" else ""


def _chunk(chunk: ChunkRow, width: int) -> str:
    path = " > ".join(part for part in chunk.heading_path if part)
    model = printable_line(chunk.model or "unknown", 24)
    digest = printable_line(chunk.content_hash, 8)
    head = f"{chunk.index:>5}  {chunk.characters:>7,}  {model:<24}  {digest:<8}  "
    return head + printable_line(path, max(width - len(head), 10))


def other(task: TaskRow) -> tuple[Cell, ...]:
    """Cells of a related task."""
    return (
        Text(str(task.id)),
        Text(printable_line(task.status), STATUS_STYLES.get(task.status, "")),
        Text(printable_line(task.operation)),
        Aged(task.at, relative) if task.at else Text("unknown"),
        Text(printable_line(task.error[:500]), BAD if task.status == "failed" else QUIET),
    )
