"""Check that every task is in a possible state, and that the counts are right."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from embedq_worker.queue.counts import count_drift
from tests.support.databases import Connection
from tests.support.oracle.findings import Finding, Kind

_IMPOSSIBLE = """
SELECT t.id, r.wrong FROM embedding_tasks t CROSS JOIN LATERAL (VALUES
    (t.attempts < 0, 'attempts below 0'),
    (t.attempts > t.max_attempts, 'more attempts than it has'),
    (t.crash_count < 0 OR t.crash_count > greatest(t.max_attempts, 2), 'crashes beyond the maximum'),
    (t.status = 'pending' AND t.processed_at IS NOT NULL, 'pending, and taken in hand'),
    (t.status = 'pending' AND t.completed_at IS NOT NULL, 'pending, and completed'),
    (t.status = 'processing' AND (t.processed_at IS NULL OR t.completed_at IS NOT NULL),
     'processing, since never or completed'),
    (t.status = 'processing' AND t.claimed_at = t.processed_at AND NOT EXISTS (
        SELECT FROM embedq_workers w WHERE w.id = t.worker_id AND w.state IN ('running', 'stopping')),
     'in the hands of a worker that is gone'),
    (t.status = 'completed' AND t.completed_at IS NULL, 'completed, nobody knows when'),
    (t.status = 'completed' AND NOT coalesce(t.metadata ? 'coalesced_into', false)
        AND (t.processed_at IS NULL OR t.processed_at > t.completed_at), 'completed before it was begun'),
    (t.status = 'completed' AND t.error_message IS NOT NULL, 'completed, with an error'),
    (t.status = 'completed' AND t.crash_count IS NOT NULL, 'completed, and under suspicion'),
    (t.status = 'failed' AND (t.error_message IS NULL OR t.completed_at IS NULL),
     'failed, nobody knows why or when')
) AS r(holds, wrong) WHERE r.holds AND t.id <> ALL ($1::uuid[])
"""

_UNDONE = "SELECT id, status, scheduled_at FROM embedding_tasks WHERE status IN ('pending', 'processing')"

_CHARGED = """
SELECT id, status, attempts FROM embedding_tasks
WHERE (attempts > 1 OR status = 'failed') AND id <> ALL ($1::uuid[])
"""


async def impossible_states(connection: Connection, *, others: Collection[UUID]) -> list[Finding]:
    """Tasks in a state in which our workers never leave them.

    Args:
        connection: To the database.
        others: Tasks that somebody else moved, who may do to them what he likes.
    """
    rows = await connection.fetch(_IMPOSSIBLE, list(others))
    return [Finding(Kind.STATE, f"task {row['id']}", row["wrong"]) for row in rows]


async def undone(connection: Connection) -> list[Finding]:
    """Tasks that are pending or in progress."""
    rows = await connection.fetch(_UNDONE)
    return [
        Finding(Kind.UNDONE, f"task {row['id']}", f"{row['status']}, due {row['scheduled_at']}")
        for row in rows
    ]


async def charged(connection: Connection, *, others: Collection[UUID]) -> list[Finding]:
    """Tasks that were charged more than the one attempt that did it, or that failed."""
    rows = await connection.fetch(_CHARGED, list(others))
    return [
        Finding(Kind.CHARGED, f"task {row['id']}", f"{row['status']} after {row['attempts']} attempts")
        for row in rows
    ]


async def wrong_counts(connection: Connection) -> list[Finding]:
    """Maintained counts that differ from COUNT(*)."""
    return [
        Finding(Kind.COUNTS, drift.what, f"{drift.kept} kept, {drift.counted} there")
        for drift in await count_drift(connection)
    ]
