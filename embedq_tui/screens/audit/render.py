"""Drawing rows of the audit log, whose texts may contain anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date

from rich.text import Text

from embedq_tui.rendering.audit_lines import STYLES, details_of, subject_of
from embedq_tui.rendering.styles import BAD, HEAD, NAME, QUIET
from embedq_worker.insights.audit import AuditRow
from embedq_worker.insights.events import Event
from embedq_worker.text import age, printable, printable_line

WIDE, VERY_WIDE = 100, 150
"""Widths from which date and category fit, and ids."""

CUT = 400
"""Characters of one text that a line shows at most."""

LONGEST = 20_000
"""Characters of one text that the details show at most."""


def audit_text(row: AuditRow, width: int, today: date) -> Text:
    """A row on one line.

    Args:
        row: The row.
        width: Available width in cells.
        today: Today's date in local time.
    """
    event = row.event
    style = STYLES.get(event.level, "")
    line = Text(no_wrap=True)
    line.append(f"{_time(event, width, today)} ", QUIET)
    line.append(f"{printable_line(event.level, 5):<5} ", style or QUIET)
    if width >= WIDE:
        line.append(f"{printable_line(event.category, 16):<16} ", QUIET)
    line.append(printable_line(event.message[:CUT]), style)
    if subject := subject_of(row):
        line.append(f"  {printable_line(subject[:CUT])}", NAME if event.level != "debug" else QUIET)
    if event.error:
        line.append(f"  {printable_line(event.error[:CUT])}", BAD if event.level == "error" else style)
    for part in details_of(event):
        line.append(f"  {printable_line(part[:CUT])}", QUIET)
    if width >= VERY_WIDE and row.task_id is not None:
        line.append(f"  task {row.task_id}", QUIET)
    return line


def _time(event: Event, width: int, today: date) -> str:
    at = event.at.astimezone()
    if width >= WIDE:
        return f"{at:%m-%d %H:%M:%S}"
    return f"{at:%H:%M:%S}" if at.date() == today else f"{at:%d. %H:%M}"


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
    more = len(text) - LONGEST
    return printable(text[:LONGEST]) + (f" ({more:,} more characters)" if more > 0 else "")
