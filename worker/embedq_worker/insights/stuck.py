"""Tasks in hand that nobody will finish, as far as the database can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import asyncpg

from embedq_worker.database import Connection
from embedq_worker.insights.overview import Liveness
from embedq_worker.settings import Settings


class StuckReason(StrEnum):
    """Why a task is taken for stuck."""

    TOO_OLD = "too old"
    WORKER_SILENT = "worker silent"
    WORKER_GONE = "worker gone"


@dataclass(frozen=True, slots=True)
class StuckTask:
    """A claim that is too old, or whose worker is silent or gone.

    Attributes:
        claimed_at: Since when it is in hand; when it was made where that was not written.
        claim_age_s: Seconds since then.
        worker: Of the claim; None for another program's, which leaves no name.
        worker_place: ``host/pid`` of that worker.
        liveness: Of that worker.
    """

    id: UUID
    article_id: int | None
    slug: str | None
    operation: str
    priority: str
    attempts: int
    max_attempts: int
    claimed_at: datetime
    claim_age_s: float
    reason: StuckReason
    worker: UUID | None
    worker_place: str | None
    liveness: Liveness | None


@dataclass(frozen=True, slots=True)
class StuckTasks:
    """All of them.

    Attributes:
        at: The database's time.
        total: How many there are.
        tasks: The oldest claims first.
        older_than_s: Age in seconds above which a claim is too old.
        silent_after_s: Seconds without heartbeat after which a worker is silent.
    """

    at: datetime
    total: int
    tasks: tuple[StuckTask, ...]
    older_than_s: float
    silent_after_s: float


async def stuck(connection: Connection, settings: Settings, *, limit: int = 50) -> StuckTasks:
    """Find stuck tasks. Reads the index of what is in hand, which is never much.

    Args:
        connection: To the migrated database.
        settings: How old a claim may be, and how long a worker may be silent.
        limit: Tasks wanted.
    """
    older_s = settings.max_processing_time_ms / 1000
    # In a transaction of its own, for a plan that does not depend on when the table was last analysed.
    async with connection.transaction(readonly=True):
        await connection.execute("SET LOCAL enable_seqscan = off")
        rows = await connection.fetch(_STUCK, older_s, settings.dead_after_s, limit)
        at = await connection.fetchval("SELECT clock_timestamp()")
    return StuckTasks(
        at=at,
        total=rows[0]["total"] if rows else 0,
        tasks=tuple(_task(row) for row in rows),
        older_than_s=older_s,
        silent_after_s=settings.dead_after_s,
    )


# A claim is ours while claimed_at equals processed_at; otherwise only its age speaks.
_STUCK = """
WITH busy AS (
    SELECT t.id, t.article_id, t.slug, t.operation, t.priority, t.attempts, t.max_attempts,
           coalesce(t.processed_at, t.created_at) AS claimed_at,
           CASE WHEN t.claimed_at = t.processed_at THEN t.worker_id END AS worker
    FROM embedding_tasks t WHERE t.status = 'processing'
), judged AS (
    SELECT b.*, w.host || '/' || w.pid AS worker_place,
           CASE WHEN b.worker IS NULL THEN NULL
                WHEN w.id IS NULL OR w.state NOT IN ('running', 'stopping') THEN 'gone'
                WHEN w.heartbeat_at < now() - make_interval(secs => $2) THEN 'silent'
                ELSE 'alive' END AS liveness,
           b.claimed_at < now() - make_interval(secs => $1) AS too_old
    FROM busy b LEFT JOIN embedq_workers w ON w.id = b.worker
), found AS (
    SELECT j.*, count(*) OVER () AS total FROM judged j
    WHERE j.too_old OR j.liveness IN ('silent', 'gone') ORDER BY j.claimed_at, j.id LIMIT $3
)
SELECT f.id, f.article_id, coalesce(f.slug, a.slug) AS slug, f.operation, f.priority, f.attempts,
       f.max_attempts, f.claimed_at, extract(epoch FROM now() - f.claimed_at)::float8 AS claim_age_s,
       f.worker, f.worker_place, f.liveness, f.total
FROM found f LEFT JOIN articles a ON a.id = f.article_id ORDER BY f.claimed_at, f.id
"""

_REASONS: Mapping[str | None, StuckReason] = {
    "gone": StuckReason.WORKER_GONE,
    "silent": StuckReason.WORKER_SILENT,
}


def _task(row: asyncpg.Record) -> StuckTask:
    return StuckTask(
        id=row["id"],
        article_id=row["article_id"],
        slug=row["slug"],
        operation=row["operation"],
        priority=row["priority"],
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        claimed_at=row["claimed_at"],
        claim_age_s=row["claim_age_s"],
        reason=_REASONS.get(row["liveness"], StuckReason.TOO_OLD),
        worker=row["worker"],
        worker_place=row["worker_place"],
        liveness=Liveness(row["liveness"]) if row["liveness"] else None,
    )
