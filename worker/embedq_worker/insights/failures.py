"""Failed tasks by what went wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from embedq_worker.database import Connection
from embedq_worker.insights.advice import advice_for
from embedq_worker.insights.tasks import WHOLE

COUNTED = 100_000
"""Tasks of a group that are counted one by one, 50 ms of work; a bigger group costs no more than this."""

GROUPS_SEEN = 1_000
"""Groups that are looked at to find the biggest; normalised errors make a few dozen."""

COUNTED_OF_BAR = 2_000
"""Tasks of a bar of a trend that are counted one by one."""

NO_ERROR = "(no error message)"


@dataclass(frozen=True, slots=True)
class FailedTask:
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
        count: Tasks in it.
        exact: False where there are more than `count`.
        share: Of all failed tasks, 0 to 1.
        advice: What to do about it.
        newest: Its latest tasks, the sample first.
    """

    fingerprint: str
    error: str
    count: int
    exact: bool
    share: float
    first_seen: datetime | None
    last_seen: datetime | None
    advice: str
    newest: tuple[FailedTask, ...]


@dataclass(frozen=True, slots=True)
class Failures:
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
    connection: Connection,
    *,
    limit: int = 20,
    samples: int = 1,
    counted: int = COUNTED,
    longest: int = WHOLE,
) -> Failures:
    """Group the failed tasks by error, in one snapshot.

    Costs index probes for each group and `counted` rows of it at most, however many have failed.

    Args:
        connection: To the migrated database.
        limit: Groups wanted.
        samples: Tasks shown of each group, at least 1.
        counted: Tasks of a group that are counted one by one.
        longest: Characters of each error that are wanted.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        # These tell how the index is to be walked, whatever the statistics say of a fresh failure storm.
        await connection.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off"
        )
        total = await connection.fetchrow(_TOTAL)
        rows = await connection.fetch(_GROUPS, GROUPS_SEEN + 1, counted + 1)
        assert total is not None
        seen_all = len(rows) <= GROUPS_SEEN
        sized = _sized(rows[:GROUPS_SEEN], total["failed"], counted, seen_all=seen_all)
        shown = sorted(sized, key=lambda group: (-group.count, group.fingerprint))[:limit]
        tasks = await connection.fetch(_SAMPLES, [group.fingerprint for group in shown], samples, longest)
    return Failures(
        at=total["at"],
        failed=total["failed"],
        groups=tuple(_with_tasks(group, tasks) for group in shown),
        more=len(sized) > limit or not seen_all,
    )


_TOTAL = """
SELECT clock_timestamp() AS at, coalesce(sum(n), 0)::bigint AS failed
FROM embedq_live_counts WHERE status = 'failed'
"""

# Jumps from group to group in the index, as a loose index scan would.
_GROUPS = """
WITH RECURSIVE groups AS (
    (SELECT embedq_fingerprint(error_message) AS fingerprint FROM embedding_tasks
     WHERE status = 'failed' ORDER BY embedq_fingerprint(error_message) LIMIT 1)
    UNION ALL
    SELECT (SELECT embedq_fingerprint(t.error_message) FROM embedding_tasks t
            WHERE t.status = 'failed' AND embedq_fingerprint(t.error_message) > g.fingerprint
            ORDER BY embedq_fingerprint(t.error_message) LIMIT 1)
    FROM groups g WHERE g.fingerprint IS NOT NULL
), shown AS (SELECT fingerprint FROM groups WHERE fingerprint IS NOT NULL LIMIT $1)
SELECT shown.fingerprint,
       (SELECT count(*) FROM (
            SELECT FROM embedding_tasks t
            WHERE t.status = 'failed' AND embedq_fingerprint(t.error_message) = shown.fingerprint
            LIMIT $2) AS counted) AS n,
       (SELECT t.completed_at FROM embedding_tasks t
        WHERE t.status = 'failed' AND embedq_fingerprint(t.error_message) = shown.fingerprint
          AND t.completed_at IS NOT NULL
        ORDER BY t.completed_at LIMIT 1) AS first_seen,
       (SELECT t.completed_at FROM embedding_tasks t
        WHERE t.status = 'failed' AND embedq_fingerprint(t.error_message) = shown.fingerprint
          AND t.completed_at IS NOT NULL
        ORDER BY t.completed_at DESC LIMIT 1) AS last_seen
FROM shown
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


def _sized(
    rows: Sequence[asyncpg.Record], failed: int, counted: int, *, seen_all: bool
) -> list[FailureGroup]:
    """Groups with their sizes; where one alone is too big to be counted, the others tell its size."""
    big = sum(row["n"] > counted for row in rows)
    others = sum(row["n"] for row in rows if row["n"] <= counted)
    rest = failed - others if seen_all and big == 1 else 0
    groups = []
    for row in rows:
        exact = row["n"] <= counted or rest > counted
        size = row["n"] if row["n"] <= counted else max(rest, counted)
        share = round(min(size / failed, 1.0), 4) if failed else 0.0
        groups.append(
            FailureGroup(
                row["fingerprint"], "", size, exact, share, row["first_seen"], row["last_seen"], "", ()
            )
        )
    return groups


def _with_tasks(group: FailureGroup, rows: Sequence[asyncpg.Record]) -> FailureGroup:
    own = [row for row in rows if row["fingerprint"] == group.fingerprint]
    tasks = tuple(_task(row) for row in own)
    error = own[0]["common"] if own else ""
    # A task that psql or another program failed has no time of its own.
    last = group.last_seen or max((task.failed_at for task in tasks if task.failed_at), default=None)
    return replace(
        group,
        error=error or NO_ERROR,
        first_seen=group.first_seen or last,
        last_seen=last,
        advice=advice_for(tasks[0].error if tasks else ""),
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


@dataclass(frozen=True, slots=True)
class Trends:
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
