"""Rows of the audit log as lines of text and as JSON objects."""

from __future__ import annotations

from collections.abc import Iterator

from embedq_worker.insights.audit import AuditRow
from embedq_worker.insights.events import Event
from embedq_worker.text import age, printable_line

WIDE = 120
"""Width, in columns, from which the full date, the category and task ids fit."""

STYLES = {"debug": "dim", "warn": "yellow", "error": "red"}
"""Style of each level on a terminal with colours."""

_SHOWN_SEPARATELY = ("worker", "operator", "host", "attempt", "outcome", "note")


def audit_line(row: AuditRow, *, wide: bool) -> str:
    """A row on one line.

    Args:
        row: Its texts may hold anything.
        wide: Whether there is room for everything.
    """
    event = row.event
    time = f"{event.at.astimezone():{'%Y-%m-%d' if wide else '%m-%d'} %H:%M:%S}"
    head = f"{time} {printable_line(event.level):<5}"
    if wide:
        head += f" {printable_line(event.category):<16}"
    subject = [subject_of(row)] if row.article_id is not None else []
    parts = [event.message, *subject, *details_of(event), *(_ids(row) if wide else ())]
    return "  ".join([head, *map(printable_line, parts)])


def subject_of(row: AuditRow) -> str:
    """The article a row is about; empty if it is about none."""
    return "" if row.article_id is None else row.slug or f"article {row.article_id}"


def document(row: AuditRow) -> dict[str, object]:
    """The JSON form of a row."""
    event = row.event
    return {
        "id": row.id,
        "at": event.at,
        "level": event.level,
        "category": event.category,
        "message": event.message,
        "task_id": row.task_id,
        "article_id": row.article_id,
        "slug": row.slug,
        "operation_id": row.operation_id,
        "worker": event.worker,
        "operator": event.operator,
        "attempt": event.attempt,
        "duration_ms": event.duration_ms,
        "error": event.error,
        "stack_trace": event.stack_trace,
        "metadata": event.metadata,
    }


def _ids(row: AuditRow) -> Iterator[str]:
    if row.task_id is not None:
        yield f"task {row.task_id}"
    if row.operation_id is not None:
        yield f"operation {row.operation_id}"


def details_of(event: Event) -> Iterator[str]:
    """The details of an event beside its message; a note comes first, as it explains a warning."""
    if isinstance(note := event.metadata.get("note"), str) and note:
        yield f"note={note}"
    if event.attempt is not None:
        yield f"attempt {event.attempt}"
    if event.duration_ms is not None:
        short = event.duration_ms < 10_000
        yield f"{event.duration_ms:,.0f} ms" if short else age(event.duration_ms / 1000)
    if event.operator:
        yield f"by {event.operator}"
    elif event.worker:
        yield f"worker {event.worker[:8]}"
    for name, value in event.metadata.items():
        separate = name in _SHOWN_SEPARATELY and (name != "host" or event.operator)
        if not separate and isinstance(value, str | int | float) and value != "":
            yield f"{name}={value}"
