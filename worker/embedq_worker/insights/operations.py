"""What operators did to tasks last, and what of it can be taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from embedq_worker.database.connections import Connection
from embedq_worker.documents import document_of

WALKED = 50_000
"""Rows of the audit log that are looked at, of those that are no history of tasks."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An action of an operator on tasks.

    Attributes:
        action: ``retry``, ``cancel``, ``release``, ``priority high``, ..., ``undo``.
        by: ``user@host``.
        at: When it ended, or its last batch so far.
        count: Tasks it was done to.
        filter: Which tasks were meant, as `TaskFilter.document`.
        interrupted: It was stopped before all was done.
        undone: Tasks that were taken back already.
        can_undo: It is of a kind that can be undone, and was not yet; `undo.undoable` counts what of it.
    """

    id: UUID
    action: str
    by: str
    at: datetime
    count: int
    filter: Mapping[str, object]
    interrupted: bool
    undone: int
    can_undo: bool


async def last_operations(
    connection: Connection, *, limit: int = 20, since: timedelta = timedelta(days=1)
) -> tuple[Operation, ...]:
    """The last actions of operators on tasks, the newest first.

    Reads so much of the audit log and no more, see `WALKED`: where very much happened since, an action that
    was long ago is not found, and one of very many batches that was killed is told smaller than it was.

    Args:
        connection: To the migrated database.
        limit: Actions wanted.
        since: Not those of before.
    """
    async with connection.transaction(readonly=True):
        # For a walk along the index, whatever the statistics say of a log that grows this fast.
        await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        rows = await connection.fetch(_LAST, since, WALKED, limit)
    return tuple(_operation(row) for row in rows)


# Each batch leaves a row; an action of several leaves one about all of them too, which has a state.
_LAST = """
WITH walked AS MATERIALIZED (
    SELECT l.* FROM (
        SELECT timestamp, category, task_id, operation_id, metadata FROM embedding_audit_logs
        WHERE (category <> 'task_lifecycle' OR level IN ('warn', 'error'))
          AND timestamp >= now() - $1::interval
        ORDER BY timestamp DESC, id DESC LIMIT $2::int) AS l
    WHERE l.category IN ('bulk_operations', 'queue_operations') AND l.task_id IS NULL
      AND l.operation_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
      AND CASE jsonb_typeof(l.metadata -> 'count') WHEN 'number'
               THEN (l.metadata ->> 'count')::numeric BETWEEN 0 AND 1e12 END
      AND l.metadata ? 'action' AND l.metadata ? 'operator'
), undone AS MATERIALIZED (
    SELECT metadata -> 'filter' ->> 'operation' AS operation_id, sum((metadata ->> 'count')::numeric) AS n
    FROM walked WHERE metadata ->> 'action' = 'undo' GROUP BY 1
), operations AS (
    SELECT operation_id, max(timestamp) AS at,
           coalesce(max((metadata ->> 'count')::numeric) FILTER (WHERE metadata ? 'state'),
                    sum((metadata ->> 'count')::numeric))::bigint AS count,
           coalesce(bool_or(metadata ->> 'state' = 'interrupted'), false) AS interrupted,
           (array_agg(metadata ORDER BY timestamp DESC))[1] AS metadata
    FROM walked GROUP BY operation_id
)
SELECT o.*, coalesce(u.n, 0)::bigint AS undone
FROM operations o LEFT JOIN undone u ON u.operation_id = o.operation_id
ORDER BY o.at DESC, o.operation_id LIMIT $3::int
"""


def _operation(row: asyncpg.Record) -> Operation:
    metadata = document_of(row["metadata"])
    assert isinstance(metadata, dict)  # it has keys
    action, host = str(metadata["action"]), metadata.get("host")
    operator, wanted = str(metadata["operator"]), metadata.get("filter")
    return Operation(
        id=UUID(row["operation_id"]),
        action=action,
        by=f"{operator}@{host}" if host else operator,
        at=row["at"],
        count=row["count"],
        filter=wanted if isinstance(wanted, dict) else {},
        interrupted=row["interrupted"],
        undone=row["undone"],
        can_undo=(action == "cancel" or action.startswith("priority ")) and not row["undone"],
    )
