"""What happened, as rows of the audit log tell it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import NamedTuple

import asyncpg

from embedq_worker.documents import document_of


class Event(NamedTuple):
    """Something that happened, as the audit log has it.

    Attributes:
        level: debug, info, warn or error.
        worker: Who did it; None for what no worker did.
        operator: ``user@host`` of an operator's action; empty otherwise.
        attempt: Number of the attempt, where the event is about one.
        duration_ms: Of the attempt that ended.
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
    """An event from the columns of the audit log that `Event` tells of."""
    metadata = document_of(row["metadata"]) if row["metadata"] else {}
    if not isinstance(metadata, dict):  # another program's
        metadata = {"metadata": metadata}
    attempt, operator = metadata.get("attempt"), metadata.get("operator")
    host, worker = metadata.get("host"), metadata.get("worker")
    return Event(
        at=row["timestamp"],
        level=row["level"],
        category=row["category"],
        message=row["message"],
        worker=str(worker) if worker else None,
        operator=f"{operator}@{host}" if operator and host else str(operator or ""),
        attempt=attempt if isinstance(attempt, int) else None,
        duration_ms=_finite(row["duration"]),
        error=row["error"] or "",
        stack_trace=row["stack_trace"] or "",
        metadata=metadata,
    )


def _finite(value: Decimal | None) -> float | None:
    """A numeric as far as a float has it."""
    return None if value is None or not isfinite(float(value)) else float(value)
