"""Undo operators' actions on tasks, from what the audit log recorded about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg

from embedq_worker.actions.tasks import BATCH, whole
from embedq_worker.database.connections import FILTER_TIMEOUT_S, Connection
from embedq_worker.queue.selection import PLAN, Cursor
from embedq_worker.schema.task_values import CANCELLED


@dataclass(frozen=True, slots=True)
class Undone:
    """The result of an undo.

    Attributes:
        operation_id: Id of the undo itself.
        changed: Tasks restored.
        kept: Tasks left alone because they have changed since, or would remove what was stored since.
    """

    operation_id: UUID
    changed: int
    kept: int


@dataclass(frozen=True, slots=True)
class Undoable:
    """What an undo would find.

    Attributes:
        open: Tasks unchanged since.
        touched: Tasks that would be left alone, see `Undone`.
    """

    open: int
    touched: int


async def undoable(connection: Connection, operation_id: UUID) -> Undoable:
    """Count what an undo would restore; a moment later it may be less.

    Args:
        connection: To the migrated database.
        operation_id: Id of the action.
    """
    async with connection.transaction(readonly=True):
        await connection.execute(PLAN)
        row = await connection.fetchrow(_UNDOABLE, str(operation_id), timeout=FILTER_TIMEOUT_S)
    assert row is not None
    return Undoable(row["open"], row["seen"] - row["open"])


async def undo(
    connection: Connection,
    operation_id: UUID,
    by: str,
    *,
    batch_size: int = BATCH,
    progress: Callable[[Undone], None] = lambda so_far: None,
) -> Undone:
    """Undo a cancellation or a change of priority for the tasks that have not changed since.

    A cancelled task becomes pending again, even if it was in progress, because its claim is gone; one that
    had failed before gets back its own error. Running it again does nothing more.

    Args:
        connection: To the migrated database, used by nothing else meanwhile.
        operation_id: Id of the action.
        by: Operator as ``user@host``.
        batch_size: Tasks per transaction.
        progress: Called after each batch with the result so far.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    so_far = Undone(uuid4(), 0, 0)
    place = Cursor(datetime.min.replace(tzinfo=UTC), UUID(int=0))

    async def batch() -> int:
        nonlocal so_far, place
        row = await _undo_batch(connection, operation_id, place, batch_size, so_far.operation_id, by)
        kept = row["seen"] - row["changed"]
        so_far = Undone(so_far.operation_id, so_far.changed + row["changed"], so_far.kept + kept)
        place = Cursor(row["last_time"], row["last_id"])
        progress(so_far)
        return int(row["seen"])

    while await whole(batch()) == batch_size:
        pass
    return so_far


async def _undo_batch(
    connection: Connection, undone: UUID, place: Cursor, size: int, operation: UUID, by: str
) -> asyncpg.Record:
    async with connection.transaction():
        await connection.execute(PLAN)
        row = await connection.fetchrow(_UNDO, str(undone), place.time, place.id, size, str(operation), by)
    assert row is not None
    return row


_CANCELLED = "n.metadata ->> 'action' = 'cancel'"
_HAD_FAILED = f"({_CANCELLED} AND n.metadata ->> 'status' = 'failed')"
# = ANY of a single id, and ordered by it: this leaves the planner no choice but the index on the operation,
# whatever the statistics of a log that grows this fast.
_OF_TASKS = f"""n.operation_id = ANY (ARRAY[$1::text]) AND n.task_id IS NOT NULL
      AND ({_CANCELLED} OR n.metadata ->> 'action' LIKE 'priority %')"""
# Another cancelled removal would remove what a later task of its article has stored since. The pair rules out
# an index of completed tasks: the planner may believe it to be empty, and read all of it for each removal.
_HARMLESS = """(t.operation <> 'delete' OR NOT EXISTS (
                  SELECT FROM embedding_tasks l
                  WHERE (l.article_id, l.status) BETWEEN (t.article_id, 'completed')
                                                     AND (t.article_id, 'completed')
                    AND l.operation <> 'delete' AND l.created_at >= t.created_at))"""
_UNTOUCHED = f"""CASE
              WHEN {_HAD_FAILED} THEN t.status = 'failed' AND t.error_message = '{CANCELLED}'
                                      AND coalesce(t.completed_at < n.timestamp, true)
              WHEN {_CANCELLED} THEN t.status = 'failed' AND t.completed_at = n.timestamp AND {_HARMLESS}
              ELSE t.status = 'pending' AND n.metadata ->> 'action' = 'priority ' || t.priority END"""
_UNDOABLE = f"""
SELECT count(*) AS seen, count(*) FILTER (WHERE {_UNTOUCHED}) AS open
FROM embedding_audit_logs n LEFT JOIN embedding_tasks t ON t.id = n.task_id WHERE {_OF_TASKS}
"""
_UNDO = f"""
WITH noted AS MATERIALIZED (
    SELECT n.id, n.task_id, n.timestamp, n.metadata FROM embedding_audit_logs n
    WHERE {_OF_TASKS} AND (n.timestamp, n.id) > ($2::timestamptz, $3::uuid)
    ORDER BY n.operation_id, n.timestamp, n.id LIMIT $4::int
), chosen AS MATERIALIZED (
    SELECT t.id, n.metadata, {_CANCELLED} AS cancelled, {_HAD_FAILED} AS had_failed
    FROM noted n JOIN embedding_tasks t ON t.id = n.task_id
    WHERE {_UNTOUCHED}
    FOR UPDATE OF t SKIP LOCKED
), changed AS (
    UPDATE embedding_tasks t
    SET status = CASE WHEN c.had_failed THEN 'failed' ELSE 'pending' END,
        priority = c.metadata ->> 'priority',
        completed_at = CASE WHEN c.cancelled AND NOT c.had_failed THEN NULL ELSE t.completed_at END,
        processed_at = CASE WHEN c.cancelled AND NOT c.had_failed THEN NULL ELSE t.processed_at END,
        error_message = CASE WHEN c.cancelled THEN c.metadata ->> 'error' ELSE t.error_message END
    FROM chosen c WHERE t.id = c.id RETURNING t.id, t.article_id, c.metadata
), told AS (
    INSERT INTO embedding_audit_logs
        (id, timestamp, level, category, message, task_id, article_id, operation_id, metadata)
    SELECT embedq_uuid(), clock_timestamp(), 'debug', 'task_lifecycle', 'Operator: undone', c.id,
           c.article_id, $5::text,
           embedq_signature($6::text) || jsonb_build_object('action', 'undo ' || (c.metadata ->> 'action'))
    FROM changed c
), summed AS (
    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, operation_id, metadata)
    SELECT embedq_uuid(), clock_timestamp(), 'info', 'bulk_operations', 'Operator: action undone', $5::text,
           embedq_signature($6::text) || jsonb_build_object(
               'action', 'undo', 'filter', jsonb_build_object('operation', $1::text), 'count', n.n)
    FROM (SELECT count(*) AS n FROM changed) AS n WHERE n.n > 0
)
SELECT (SELECT count(*) FROM changed) AS changed, (SELECT count(*) FROM noted) AS seen,
       (SELECT max(timestamp) FROM noted) AS last_time,
       (SELECT id FROM noted ORDER BY timestamp DESC, id DESC LIMIT 1) AS last_id
"""
