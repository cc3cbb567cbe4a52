"""Taking back what an operator did to tasks, from what the audit log keeps about it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg

from embedq_worker.actions import BATCH, operator_and_host, whole
from embedq_worker.database import Connection
from embedq_worker.selection import PLAN


@dataclass(frozen=True, slots=True)
class Undone:
    """What came of an undo.

    Attributes:
        operation_id: Of the undo itself.
        changed: Tasks that are as they were before.
        kept: Tasks that something else happened to since; they were left alone.
    """

    operation_id: UUID
    changed: int
    kept: int


async def undo(connection: Connection, operation_id: UUID, by: str, *, batch_size: int = BATCH) -> Undone:
    """Take back a cancellation, or a change of priority, of the tasks that nothing has touched since.

    A cancelled task waits again, one that was in hand too: its claim is gone. Run again it does nothing more.

    Args:
        connection: To the migrated database, for this alone meanwhile.
        operation_id: Of the action.
        by: Operator as ``user@host``.
        batch_size: Tasks per transaction.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `database.explained`.
    """
    operation, operator, host = uuid4(), *operator_and_host(by)
    changed, seen, place = 0, 0, UUID(int=0)
    while True:
        batch = _undo_batch(connection, operation_id, place, batch_size, operation, operator, host)
        row = await whole(batch)
        changed += row["changed"]
        seen += row["seen"]
        if row["seen"] < batch_size:
            return Undone(operation, changed, seen - changed)
        place = row["last"]


async def _undo_batch(
    connection: Connection, undone: UUID, place: UUID, size: int, *signature: object
) -> asyncpg.Record:
    async with connection.transaction():
        await connection.execute(PLAN)
        row = await connection.fetchrow(_UNDO, str(undone), place, size, *map(str, signature))
    assert row is not None
    return row


_UNDO = """
WITH noted AS MATERIALIZED (
    SELECT a.id, a.task_id, a.timestamp, a.metadata FROM embedding_audit_logs a
    WHERE a.operation_id = $1 AND a.id > $2::uuid AND a.task_id IS NOT NULL
      AND (a.metadata ->> 'action' = 'cancel' OR a.metadata ->> 'action' LIKE 'priority %')
    ORDER BY a.id LIMIT $3::int
), chosen AS MATERIALIZED (
    SELECT t.id, n.metadata FROM noted n JOIN embedding_tasks t ON t.id = n.task_id
    WHERE CASE n.metadata ->> 'action'
              WHEN 'cancel' THEN t.status = 'failed' AND t.completed_at = n.timestamp
              ELSE t.status = 'pending' AND n.metadata ->> 'action' = 'priority ' || t.priority END
    FOR UPDATE OF t SKIP LOCKED
), changed AS (
    UPDATE embedding_tasks t
    SET status = 'pending', priority = c.metadata ->> 'priority',
        completed_at = CASE c.metadata ->> 'action' WHEN 'cancel' THEN NULL ELSE t.completed_at END,
        processed_at = CASE c.metadata ->> 'action' WHEN 'cancel' THEN NULL ELSE t.processed_at END,
        error_message = CASE c.metadata ->> 'action' WHEN 'cancel' THEN c.metadata ->> 'error'
                                                     ELSE t.error_message END
    FROM chosen c WHERE t.id = c.id RETURNING t.id, t.article_id, c.metadata
), told AS (
    INSERT INTO embedding_audit_logs
        (id, timestamp, level, category, message, task_id, article_id, operation_id, metadata)
    SELECT embedq_uuid(), clock_timestamp(), 'debug', 'task_lifecycle', 'Operator: undone', c.id,
           c.article_id, $4::text, jsonb_build_object('operator', $5::text, 'host', $6::text,
                                        'action', 'undo ' || (c.metadata ->> 'action'))
    FROM changed c
), summed AS (
    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, operation_id, metadata)
    SELECT embedq_uuid(), clock_timestamp(), 'info', 'bulk_operations', 'Operator: action undone', $4::text,
           jsonb_build_object('operator', $5::text, 'host', $6::text, 'action', 'undo',
                              'filter', jsonb_build_object('operation', $1::text), 'count', n.n)
    FROM (SELECT count(*) AS n FROM changed) AS n WHERE n.n > 0
)
SELECT (SELECT count(*) FROM changed) AS changed, (SELECT count(*) FROM noted) AS seen,
       (SELECT id FROM noted ORDER BY id DESC LIMIT 1) AS last
"""
