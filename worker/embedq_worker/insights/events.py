"""Rows of the audit log as events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import NamedTuple

import asyncpg

from embedq_worker.insights.documents import document_of
from embedq_worker.queue.operator_log import by_whom


class Event(NamedTuple):
    """Something that happened, from the audit log.

    Attributes:
        level: debug, info, warn or error.
        worker: Worker that did it; None if it was not a worker.
        operator: ``user@host`` for an operator's action; empty otherwise.
        attempt: Number of the attempt, if the event concerns one.
        duration_ms: Duration of the attempt that ended.
    """

    at: datetime
    level: str
    category: str
    message: str
    worker: str | None
    operator: str
    attempt: int | None
    duration_ms: float | None
    error: str
    stack_trace: str
    metadata: Mapping[str, object]


def event_of(row: asyncpg.Record) -> Event:
    """Make an event from the columns of the audit log."""
    metadata = document_of(row["metadata"]) if row["metadata"] else {}
    if not isinstance(metadata, dict):  # written by another program
        metadata = {"metadata": metadata}
    attempt, worker = metadata.get("attempt"), metadata.get("worker")
    operator, host = (str(metadata.get(name) or "") for name in ("operator", "host"))
    return Event(
        at=row["timestamp"],
        level=row["level"],
        category=row["category"],
        message=row["message"],
        worker=str(worker) if worker else None,
        operator=by_whom(operator, host),
        attempt=attempt if isinstance(attempt, int) else None,
        duration_ms=_finite(row["duration"]),
        error=row["error"] or "",
        stack_trace=row["stack_trace"] or "",
        metadata=metadata,
    )


def _finite(value: Decimal | None) -> float | None:
    """A numeric as a float; None if it has no finite one."""
    return None if value is None or not isfinite(float(value)) else float(value)
