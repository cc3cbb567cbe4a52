"""Claimed tasks that will not be finished, as far as the database can tell."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import asyncpg

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.overview import Liveness
from embedq_worker.queue.selection import STUCK
from embedq_worker.queue.wanted import Stuck


class StuckReason(StrEnum):
    """Why a task is considered stuck."""

    TOO_OLD = "too old"
    WORKER_SILENT = "worker silent"
    WORKER_GONE = "worker gone"


class StuckTask(NamedTuple):
    """A claim that is too old, or whose worker is silent or gone.

    Attributes:
        claimed_at: When it was claimed or, if that was not recorded, created.
        claim_age_s: Seconds since then.
        worker: Holder of the claim; None for another program's worker, which does not record its name.
        worker_place: ``host/pid`` of that worker.
        liveness: State of that worker.
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


class StuckWorker(NamedTuple):
    """A worker that holds stuck tasks.

    Attributes:
        worker: None for other programs, which do not record their names.
        worker_place: Its ``host/pid``.
        tasks: How many it holds.
    """

    worker: UUID | None
    worker_place: str | None
    liveness: Liveness | None
    tasks: int


class StuckTasks(NamedTuple):
    """All stuck tasks.

    Attributes:
        at: The database's time.
        total: How many there are.
        workers: The workers that hold them, the one with most first.
        tasks: The oldest claims first, up to the limit.
        older_than_s: Age in seconds above which a claim is too old.
        silent_after_s: Seconds without a heartbeat after which a worker is silent.
    """

    at: datetime
    total: int
    workers: tuple[StuckWorker, ...]
    tasks: tuple[StuckTask, ...]
    older_than_s: float
    silent_after_s: float


def stuck_by(settings: Settings, older_s: float | None = None) -> Stuck:
    """What counts as stuck according to the settings.

    Args:
        settings: How old a claim may be, and when a worker is presumed dead.
        older_s: How old a claim may be, in seconds, if not as in the settings.
    """
    maximum = settings.max_processing_time_ms / 1000 if older_s is None else older_s
    return Stuck(maximum, settings.dead_after_s)


async def stuck(
    connection: Connection, settings: Settings, *, limit: int = 50, by: Stuck | None = None
) -> StuckTasks:
    """Find stuck tasks, in one snapshot. Reads the index of claimed tasks, of which there are never many.

    Args:
        connection: To the migrated database.
        settings: How old a claim may be, and when a worker is presumed dead.
        limit: Maximum number of tasks to return.
        by: What counts as stuck, to override the settings.
    """
    by = by or stuck_by(settings)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        # So that the plan does not depend on when the table was last analysed.
        await connection.execute("SET LOCAL enable_seqscan = off")
        workers = await connection.fetch(_WORKERS, by.older_s, by.silent_s)
        rows = await connection.fetch(_TASKS, by.older_s, by.silent_s, limit) if workers else []
        at = await connection.fetchval("SELECT clock_timestamp()")
    return StuckTasks(
        at=at,
        total=sum(row["tasks"] for row in workers),
        workers=tuple(
            StuckWorker(row["worker"], row["worker_place"], _liveness(row), row["tasks"]) for row in workers
        ),
        tasks=tuple(_task(row, at) for row in rows),
        older_than_s=by.older_s,
        silent_after_s=by.silent_s,
    )


_FOUND = f"""
WITH found AS (
    SELECT t.id, t.article_id, t.slug, t.operation, t.priority, t.attempts, t.max_attempts,
           embedq_held_since(t.processed_at, t.created_at) AS claimed_at,
           CASE WHEN t.claimed_at = t.processed_at THEN t.worker_id END AS worker
    FROM embedding_tasks t WHERE t.status = 'processing' AND {STUCK.format("$1", "$2")}
)
SELECT f.worker, w.host || '/' || w.pid AS worker_place,
       CASE WHEN f.worker IS NULL THEN NULL
            WHEN embedq_alive(w.state, w.heartbeat_at, make_interval(secs => $2)) THEN 'alive'
            WHEN w.state IN ('running', 'stopping') THEN 'silent' ELSE 'gone' END AS liveness,
"""

_WORKERS = f"""{_FOUND} count(*) AS tasks
FROM found f LEFT JOIN embedq_workers w ON w.id = f.worker
GROUP BY 1, 2, 3 ORDER BY tasks DESC, f.worker
"""

_TASKS = f"""{_FOUND} f.id, f.article_id, coalesce(f.slug, a.slug) AS slug,
       coalesce(f.operation, '') AS operation, coalesce(f.priority, '') AS priority, f.attempts,
       f.max_attempts, f.claimed_at
FROM (SELECT * FROM found ORDER BY claimed_at, id LIMIT $3) AS f
LEFT JOIN embedq_workers w ON w.id = f.worker LEFT JOIN articles a ON a.id = f.article_id
ORDER BY f.claimed_at, f.id
"""

_REASONS: Mapping[str | None, StuckReason] = {
    "gone": StuckReason.WORKER_GONE,
    "silent": StuckReason.WORKER_SILENT,
}


def _task(row: asyncpg.Record, at: datetime) -> StuckTask:
    return StuckTask(
        id=row["id"],
        article_id=row["article_id"],
        slug=row["slug"],
        operation=row["operation"],
        priority=row["priority"],
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        claimed_at=row["claimed_at"],
        claim_age_s=(at - row["claimed_at"]).total_seconds(),
        reason=_REASONS.get(row["liveness"], StuckReason.TOO_OLD),
        worker=row["worker"],
        worker_place=row["worker_place"],
        liveness=_liveness(row),
    )


def _liveness(row: asyncpg.Record) -> Liveness | None:
    return Liveness(row["liveness"]) if row["liveness"] else None
