"""A row of the audit log in full, whose texts may contain anything."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rich.text import Text

from embedq_tui.rendering.audit_lines import STYLES
from embedq_tui.rendering.styles import BAD, HEAD, QUIET
from embedq_worker.insights.audit import AuditRow
from embedq_worker.text import age, printable

LONGEST = 20_000
"""Characters of one text that the details show at most."""


def audit_detail(row: AuditRow) -> Text:
    """A row in full."""
    text = Text()
    for name, value, style in _fields(row):
        text.append(f"{name:<10}", QUIET).append(_shown(value), style).append("\n")
    if row.event.stack_trace:
        text.append("stack\n", QUIET).append(_shown(row.event.stack_trace))
    text.rstrip()
    return text


def _fields(row: AuditRow) -> Iterator[tuple[str, str, str]]:
    event = row.event
    yield event.level, event.message, STYLES.get(event.level, HEAD)
    if event.error:
        yield "error", event.error, BAD
    yield "at", f"{event.at.astimezone():%Y-%m-%d %H:%M:%S.%f %Z}  {event.category}", ""
    if event.operator:
        yield "operator", event.operator, ""
    if event.worker:
        yield "worker", event.worker, ""
    if row.task_id is not None:
        attempt = "" if event.attempt is None else f"  attempt {event.attempt}"
        took = "" if event.duration_ms is None else f"  {_took(event.duration_ms)}"
        yield "task", f"{row.task_id}{attempt}{took}", ""
    if row.article_id is not None:
        yield "article", f"{row.article_id}  {row.slug or 'no longer exists'}", ""
    if row.operation_id is not None:
        yield "operation", row.operation_id, ""
    if event.metadata:
        yield "metadata", json.dumps(dict(event.metadata), ensure_ascii=False, default=str), ""


def _took(ms: float) -> str:
    return f"{ms:,.1f} ms" if ms < 10_000 else age(ms / 1000)


def _shown(text: str) -> str:
    return printable(text[:LONGEST]) + (" (cut here; an export has all of it)" if len(text) > LONGEST else "")
