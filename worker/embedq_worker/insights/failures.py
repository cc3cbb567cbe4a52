"""Failed tasks by what went wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from embedq_worker.database.connections import Connection
from embedq_worker.insights.advice import RETRY_ALL, advice_for
from embedq_worker.insights.tasks import WHOLE
from embedq_worker.queue.selection import PLAN

COUNTED_OF_BAR = 2_000
"""Tasks of a bar of a trend that are counted one by one."""

NO_ERROR = "(no error message)"


class FailedTask(NamedTuple):
    """One failed task of a group."""

    id: UUID
    article_id: int | None
    slug: str | None
    operation: str
    priority: str
    attempts: int
    max_attempts: int
    failed_at: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed tasks whose errors differ only in numbers, names and places.

    Attributes:
        fingerprint: Names the group; stable as long as the error is the same.
        error: What its errors have in common.
        count: Tasks in it, exactly.
        share: Of all failed tasks, 0 to 1.
        advice: What to do about it.
        newest: Its latest tasks, the sample first.
    """

    fingerprint: str
    error: str
    count: int
    share: float
    first_seen: datetime | None
    last_seen: datetime | None
    advice: str
    newest: tuple[FailedTask, ...]


class Failures(NamedTuple):
    """Failed tasks as a whole.

    Attributes:
        at: The database's time.
        failed: Exact number of failed tasks.
        groups: The biggest, biggest first.
        more: There are groups that are not among them.
    """

    at: datetime
    failed: int
    groups: tuple[FailureGroup, ...]
    more: bool


async def failures(
    connection: Connection, *, limit: int = 20, samples: int = 1, longest: int = WHOLE
) -> Failures:
    """Group the failed tasks by error, in one snapshot.

    Costs index probes for each group that is wanted, however many tasks and groups there are.

    Args:
        connection: To the migrated database.
        limit: Groups wanted.
        samples: Tasks shown of each group, at least 1.
        longest: Characters of each error that are wanted.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(PLAN)
        total = await connection.fetchrow(_TOTAL)
        rows = await connection.fetch(_GROUPS, limit + 1)
        assert total is not None
        tasks = await connection.fetch(
            _SAMPLES, [row["fingerprint"] for row in rows[:limit]], samples, longest
        )
    return Failures(
        at=total["at"],
        failed=total["failed"],
        groups=tuple(_group(row, total["failed"], tasks) for row in rows[:limit]),
        more=len(rows) > limit,
    )


_TOTAL = """
SELECT clock_timestamp() AS at, coalesce(sum(n), 0)::bigint AS failed
FROM embedq_live_counts WHERE status = 'failed'
"""

# The biggest are among those that were the biggest when the deltas were folded last, as many more as have
# deltas now, and these.
_GROUPS = """
WITH moved AS (
    SELECT fingerprint, sum(delta) AS delta FROM embedq_count_deltas
    WHERE fingerprint IS NOT NULL GROUP BY fingerprint
), likely AS (
    (SELECT fingerprint FROM embedq_failure_counts ORDER BY n DESC, fingerprint
     LIMIT $1::int + (SELECT count(*) FROM moved))
    UNION
    SELECT fingerprint FROM moved
), biggest AS (
    SELECT l.fingerprint, (coalesce(c.n, 0) + coalesce(m.delta, 0))::bigint AS n
    FROM likely l
    LEFT JOIN embedq_failure_counts c ON c.fingerprint = l.fingerprint
    LEFT JOIN moved m ON m.fingerprint = l.fingerprint
    WHERE coalesce(c.n, 0) + coalesce(m.delta, 0) > 0
    ORDER BY n DESC, l.fingerprint LIMIT $1::int
)
SELECT b.fingerprint, b.n,
       (SELECT t.completed_at FROM embedding_tasks t
        WHERE t.status = 'failed' AND embedq_fingerprint(t.error_message) = b.fingerprint
          AND t.completed_at IS NOT NULL
        ORDER BY t.completed_at LIMIT 1) AS first_seen,
       (SELECT t.completed_at FROM embedding_tasks t
        WHERE t.status = 'failed' AND embedq_fingerprint(t.error_message) = b.fingerprint
          AND t.completed_at IS NOT NULL
        ORDER BY t.completed_at DESC LIMIT 1) AS last_seen
FROM biggest b ORDER BY b.n DESC, b.fingerprint
"""

_SAMPLES = """
SELECT g.fingerprint, embedq_normalise_error(t.error_message) AS common, t.*
FROM unnest($1::text[]) AS g(fingerprint), LATERAL (
    SELECT t.id, t.article_id, coalesce(t.slug, a.slug) AS slug, t.operation, t.priority, t.attempts,
           t.max_attempts, coalesce(t.completed_at, t.processed_at, t.created_at) AS failed_at,
           left(t.error_message, $3::int) AS error_message
    FROM embedding_tasks t LEFT JOIN articles a ON a.id = t.article_id
    WHERE t.status = 'failed' AND embedq_fingerprint(t.error_message) = g.fingerprint
    ORDER BY embedq_fingerprint(t.error_message), t.completed_at DESC LIMIT $2) AS t
"""


def _group(row: asyncpg.Record, failed: int, samples: Sequence[asyncpg.Record]) -> FailureGroup:
    own = [sample for sample in samples if sample["fingerprint"] == row["fingerprint"]]
    tasks = tuple(_task(sample) for sample in own)
    # A task that psql or another program failed has no time of its own.
    last = row["last_seen"] or max((task.failed_at for task in tasks if task.failed_at), default=None)
    return FailureGroup(
        fingerprint=row["fingerprint"],
        error=(own[0]["common"] if own else "") or NO_ERROR,
        count=row["n"],
        share=min(row["n"] / failed, 1.0) if failed else 0.0,
        first_seen=row["first_seen"] or last,
        last_seen=last,
        advice=advice_for(tasks[0].error if tasks else "", f"{RETRY_ALL} --group {row['fingerprint']}"),
        newest=tasks,
    )


def _task(row: asyncpg.Record) -> FailedTask:
    return FailedTask(
        id=row["id"],
        article_id=row["article_id"],
        slug=row["slug"],
        operation=row["operation"],
        priority=row["priority"],
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        failed_at=row["failed_at"],
        error=row["error_message"] or "",
    )


class Trends(NamedTuple):
    """How many tasks failed when, by group.

    Attributes:
        at: The database's time, where the last bar ends.
        bar: What a bar spans.
        counted: A bar of so many stands for that, or more.
        bars: By fingerprint, the oldest first.
    """

    at: datetime
    bar: timedelta
    counted: int
    bars: Mapping[str, tuple[int, ...]]


async def group_trends(
    connection: Connection,
    groups: Sequence[str],
    *,
    over: timedelta = timedelta(hours=1),
    bars: int = 12,
    counted: int = COUNTED_OF_BAR,
) -> Trends:
    """Count the failed tasks of groups by the time of their failure.

    Costs an index probe for each bar and `counted` entries of it at most, however many have failed.

    Args:
        connection: To the migrated database.
        groups: Fingerprints; of one that is gone the bars are empty.
        over: The time back from now that is wanted.
        bars: Their number, at least 1.
        counted: Tasks of a bar that are counted one by one.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        at: datetime = await connection.fetchval("SELECT clock_timestamp()")
        rows = await connection.fetch(_TREND, list(groups), at, over / bars, bars, counted)
    found: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        found[row["fingerprint"]].append(row["n"])
    return Trends(at, over / bars, counted, {group: tuple(found[group]) for group in groups})


_TREND = """
SELECT g.fingerprint, (
           SELECT count(*) FROM (
               SELECT FROM embedding_tasks t
               WHERE t.status = 'failed' AND embedq_fingerprint(t.error_message) = g.fingerprint
                 AND t.completed_at > $2::timestamptz - b.back * $3::interval
                 AND t.completed_at <= $2::timestamptz - (b.back - 1) * $3::interval
               LIMIT $5::int) AS bar) AS n
FROM (SELECT DISTINCT fingerprint FROM unnest($1::text[]) AS u(fingerprint)) AS g,
     generate_series(1, $4::int) AS b(back)
ORDER BY g.fingerprint, b.back DESC
"""
