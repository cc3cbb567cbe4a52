"""Check that the audit log has a possible history for each task, which leads to its status."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import Enum, auto
from itertools import groupby
from uuid import UUID

import asyncpg

from tests.support.databases import Connection
from tests.support.oracle.findings import Finding, Kind


class Event(Enum):
    """What the audit log says about a task."""

    CLAIMED = auto()
    COMPLETED = auto()
    WITH_ANOTHER = auto()
    REQUEUED = auto()
    FAILED = auto()
    RESCUED = auto()
    BURIED = auto()


_EVENTS: Mapping[str, Event] = {
    "Task claimed": Event.CLAIMED,
    "Task completed": Event.COMPLETED,
    "Task completed: the article is not to be embedded": Event.COMPLETED,
    "Task completed: embeddings removed": Event.COMPLETED,
    "Task completed: the article does not exist": Event.COMPLETED,
    "Task completed with another of its article": Event.WITH_ANOTHER,
    "Task requeued: the article changed while it was embedded": Event.REQUEUED,
    "Attempt failed, will be retried": Event.REQUEUED,
    "Task given back": Event.REQUEUED,
    "Task given back, to be tried alone": Event.REQUEUED,
    "Task given back: its claim was not received": Event.REQUEUED,
    "Task failed": Event.FAILED,
    "Stuck task back in the queue": Event.RESCUED,
    "Task failed: no worker survives it": Event.BURIED,
}
"""By message; what else is said of a task is an operator's."""

_LEADS_TO: Mapping[Event, str] = {
    Event.CLAIMED: "processing",
    Event.COMPLETED: "completed",
    Event.WITH_ANOTHER: "completed",
    Event.REQUEUED: "pending",
    Event.FAILED: "failed",
    Event.RESCUED: "pending",
    Event.BURIED: "failed",
}

_AUDIT = """
SELECT l.task_id, l.message, l.metadata ->> 'worker' AS worker, t.status
FROM embedding_audit_logs l JOIN embedding_tasks t ON t.id = l.task_id
ORDER BY l.task_id, l.timestamp, l.id
"""


async def wrong_histories(connection: Connection, *, others: Collection[UUID]) -> list[Finding]:
    """Tasks whose history in the audit log is impossible.

    Args:
        connection: To the database.
        others: Tasks that other programs changed, which leave no trace there.
    """
    return [
        Finding(Kind.HISTORY, f"task {task}", what)
        for task, rows in groupby(await connection.fetch(_AUDIT), key=lambda row: row["task_id"])
        if task not in others
        for what in _contradictions(list(rows))
    ]


def _contradictions(rows: Sequence[asyncpg.Record]) -> Iterator[str]:
    holder: str | None = None
    last: Event | None = None
    for row in rows:
        last = _EVENTS.get(row["message"])
        if last is None:  # an operator's: he moves tasks from whatever they are
            holder = None
            continue
        if last in (Event.CLAIMED, Event.WITH_ANOTHER):
            if holder is not None:
                yield f"{last.name} by {row['worker']} while {holder} had it"
        elif holder is None or row["worker"] != holder:
            yield f"{last.name} by {row['worker']} while {holder} had it"
        holder = row["worker"] if last is Event.CLAIMED else None
    if last is not None and _LEADS_TO[last] != rows[0]["status"]:
        yield f"{last.name} is its last word, but it is {rows[0]['status']}"
