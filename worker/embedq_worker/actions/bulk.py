"""Bulk operations: what became of their tasks, and how to roll them back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from embedq_worker.actions.tasks import whole
from embedq_worker.database.connections import Connection
from embedq_worker.queue.operator_log import by_whom

BATCH = 1_000
"""Tasks removed per transaction."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A bulk operation and what became of its tasks.

    Attributes:
        filter: Model, categories and priority.
        state: ``running``, ``done``, ``stopped`` or ``rolled_back``.
        planned: Tasks expected when it began.
        queued: Tasks queued so far.
        tasks: Tasks that are still in the table, by status.
        silent_s: Seconds since its last batch.
    """

    id: UUID
    operator: str
    host: str
    filter: Mapping[str, object]
    state: str
    planned: int
    queued: int
    last_id: int
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    silent_s: float
    tasks: Mapping[str, int]

    @property
    def by(self) -> str:
        """Who began it."""
        return by_whom(self.operator, self.host)


_OPERATION = """
SELECT id, operator, host, filter, state, planned, queued, cursor AS last_id, started_at,
       updated_at, finished_at, extract(epoch FROM clock_timestamp() - updated_at)::float AS silent_s,
       (SELECT coalesce(jsonb_object_agg(status, n), '{}') FROM (
            SELECT status, count(*) AS n FROM embedding_tasks
            WHERE metadata ? 'bulkOperationId' AND metadata ->> 'bulkOperationId' = o.id::text
            GROUP BY status) AS t) AS tasks
FROM embedq_bulk_operations o
WHERE id = $1 OR $1 IS NULL
ORDER BY started_at DESC LIMIT 1
"""


async def status(connection: Connection, operation_id: UUID | None = None) -> Operation | None:
    """Report how far a backfill and its tasks have come; reads all its tasks by index.

    Args:
        connection: To a migrated database.
        operation_id: None for the latest one.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    row = await connection.fetchrow(_OPERATION, operation_id)
    if row is None:
        return None
    documents = {name: json.loads(row[name]) for name in ("filter", "tasks")}
    return Operation(**{**row, **documents})


async def rollback(
    connection: Connection,
    operation_id: UUID,
    *,
    by: str,
    batch_size: int = BATCH,
    progress: Callable[[int], None] = lambda removed: None,
) -> int:
    """Remove the tasks of an operation that no worker has begun; an operation still running ends.

    Tasks in progress or done stay; `status` tells how many. If interrupted, it can be run again.

    Args:
        connection: To a migrated database.
        operation_id: From `Operation` or `BackfillRun`.
        by: Operator as ``user@host``.
        batch_size: Tasks per transaction.
        progress: Called after each batch with the number of tasks removed so far.

    Returns:
        How many tasks were removed.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    removed = 0

    async def batch() -> int:
        nonlocal removed
        taken: int = await connection.fetchval(
            "SELECT embedq_bulk_rollback($1, $2, $3)", operation_id, batch_size, by
        )
        removed += taken
        progress(removed)
        return taken

    while await whole(batch()) == batch_size:
        pass
    return removed
