"""Failed tasks, grouped by error, and those with more attempts than allowed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from embedq_worker.database.connections import SCAN_TIMEOUT_S, Connection
from embedq_worker.insights.advice import RETRY_ALL, advice_for
from embedq_worker.insights.tasks import WHOLE
from embedq_worker.queue.selection import BY_INDEX, PLAN, RETRIABLE
from embedq_worker.schema.task_values import IS_CANCELLED

COUNTED_OF_BAR = 2_000
"""Tasks counted for one bar of a trend; a bar with more is cut off there."""

LATEST_OF = 1_000
"""Newest failures, and largest groups, among which to look for the groups that failed last."""

FOLDERS_OF = 200
"""Newest tasks of a group whose folders are counted, at 25 µs each: most of it for the fingerprint."""
_FOLDERS = 3

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


class FolderCount(NamedTuple):
    """Failed tasks of articles in a folder, not in its subfolders."""

    folder: str
    tasks: int


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed tasks whose errors differ only in numbers, names and places.

    Attributes:
        fingerprint: Identifies the group; the same error always has the same fingerprint.
        error: What its errors have in common.
        count: Exact number of tasks in it.
        share: Share of all failed tasks, 0 to 1.
        advice: What to do about it.
        newest: Its latest tasks; the first is the sample.
        folders: From `group_folders`; empty if not asked for.
    """

    fingerprint: str
    error: str
    count: int
    share: float
    first_seen: datetime | None
    last_seen: datetime | None
    advice: str
    newest: tuple[FailedTask, ...]
    folders: tuple[FolderCount, ...] = ()


class GroupCursor(NamedTuple):
    """The position of a group in the order by size."""

    size: int
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.size}-{self.fingerprint}"

    @classmethod
    def parse(cls, text: str) -> GroupCursor:
        """Parse the result of `str`.

        Raises:
            ValueError: The text is something else.
        """
        found = re.fullmatch(r"([0-9]{1,18})-([0-9a-f]{8})", text)
        if found is None:
            raise ValueError(f"{text!r} is no position of a group")
        return cls(int(found[1]), found[2])


class Failures(NamedTuple):
    """All failed tasks.

    Attributes:
        at: The database's time.
        failed: Exact number of failed tasks.
        groups: A page of groups, largest first, or those that failed last.
        next: Position of the next page; None on the last one, and for those that failed last.
    """

    at: datetime
    failed: int
    groups: tuple[FailureGroup, ...]
    next: GroupCursor | None


async def failures(
    connection: Connection,
    *,
    limit: int = 20,
    after: GroupCursor | None = None,
    latest: bool = False,
    samples: int = 1,
    folders: bool = False,
    longest: int = WHOLE,
) -> Failures:
    """Group the failed tasks by error, in one snapshot.

    Costs a few index lookups per returned group, however many tasks and groups there are; with their folders,
    up to `FOLDERS_OF` more.

    Args:
        connection: To the migrated database.
        limit: Maximum number of groups.
        after: `Failures.next` of the previous page. A group that grows past it meanwhile is missed, one that
            shrinks past it comes again.
        latest: The groups that failed last instead of the largest.
        samples: Tasks to return per group, at least 1.
        folders: Count in which folders they are.
        longest: Maximum characters of an error.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(PLAN)
        total = await connection.fetchrow(_TOTAL)
        if latest:
            rows = await connection.fetch(_LATEST, limit, LATEST_OF)
        else:
            rows = await connection.fetch(_GROUPS, limit + 1, *(after or _FIRST))
        assert total is not None
        shown = [row["fingerprint"] for row in rows[:limit]]
        tasks = await connection.fetch(_SAMPLES, shown, samples, longest)
        places = await group_folders(connection, shown) if folders else {}
    return Failures(
        at=total["at"],
        failed=total["failed"],
        groups=tuple(
            _group(row, total["failed"], tasks, places.get(row["fingerprint"], ())) for row in rows[:limit]
        ),
        next=GroupCursor(rows[limit - 1]["n"], rows[limit - 1]["fingerprint"]) if len(rows) > limit else None,
    )


_TOTAL = """
SELECT clock_timestamp() AS at, coalesce(sum(n), 0)::bigint AS failed
FROM embedq_live_counts WHERE status = 'failed'
"""

_FIRST = GroupCursor(2**63 - 1, "")
"""Every group is beyond this position."""

_MOVED = """moved AS (
    SELECT fingerprint, sum(delta) AS delta FROM embedq_count_deltas
    WHERE fingerprint IS NOT NULL GROUP BY fingerprint
)"""
# The sizes of the groups l; m has their deltas.
_SIZED = """(coalesce((SELECT c.n FROM embedq_failure_counts c WHERE c.fingerprint = l.fingerprint), 0)
            + coalesce(m.delta, 0))::bigint AS n"""
# When a task of the group g failed first or last.
_SEEN = """(SELECT t.completed_at FROM embedding_tasks t
        WHERE t.status = 'failed' AND embedq_fingerprint(t.error_message) = g.fingerprint
          AND t.completed_at IS NOT NULL
        ORDER BY t.completed_at {0} LIMIT 1)"""
_FIRST_SEEN = _SEEN.format("ASC")
_LAST_SEEN = _SEEN.format("DESC")

# The largest groups beyond a position are among the groups with unfolded deltas and the $1 + (number of
# those) groups that were the largest beyond it when the deltas were last folded.
_GROUPS = f"""
WITH {_MOVED}, likely AS (
    (SELECT fingerprint FROM embedq_failure_counts WHERE (n, fingerprint) < ($2::bigint, $3::text)
     ORDER BY n DESC, fingerprint DESC LIMIT $1::int + (SELECT count(*) FROM moved))
    UNION
    SELECT fingerprint FROM moved
), sized AS MATERIALIZED (
    SELECT l.fingerprint, {_SIZED}
    FROM likely l LEFT JOIN moved m ON m.fingerprint = l.fingerprint
), biggest AS (
    SELECT fingerprint, n FROM sized WHERE n > 0 AND (n, fingerprint) < ($2::bigint, $3::text)
    ORDER BY n DESC, fingerprint DESC LIMIT $1::int
)
SELECT g.fingerprint, g.n, {_FIRST_SEEN} AS first_seen, {_LAST_SEEN} AS last_seen
FROM biggest g ORDER BY g.n DESC, g.fingerprint DESC
"""

# The groups of the newest failures; and the largest ones, because the newest may all be of one cancellation.
_LATEST = f"""
WITH {_MOVED}, near AS (
    SELECT embedq_fingerprint(t.error_message) AS fingerprint
    FROM (SELECT error_message FROM embedding_tasks
          WHERE status = 'failed' AND completed_at IS NOT NULL
          ORDER BY completed_at DESC, id DESC LIMIT $2::int) AS t
    UNION
    (SELECT fingerprint FROM embedq_failure_counts ORDER BY n DESC, fingerprint DESC LIMIT $2::int)
    UNION
    SELECT fingerprint FROM moved
), timed AS (
    SELECT g.fingerprint, {_LAST_SEEN} AS last_seen FROM near g
), latest AS (
    SELECT fingerprint, last_seen FROM timed
    ORDER BY last_seen DESC NULLS LAST, fingerprint DESC LIMIT $1::int
), sized AS (
    SELECT l.fingerprint, l.last_seen, {_SIZED}
    FROM latest l LEFT JOIN moved m ON m.fingerprint = l.fingerprint
)
SELECT g.fingerprint, g.n, g.last_seen, {_FIRST_SEEN} AS first_seen
FROM sized g WHERE g.n > 0 ORDER BY g.last_seen DESC NULLS LAST, g.fingerprint DESC
"""

_SAMPLES = """
SELECT g.fingerprint, embedq_normalise_error(t.error) AS common, t.*
FROM unnest($1::text[]) AS g(fingerprint), LATERAL (
    SELECT t.id, t.article_id, coalesce(t.slug, a.slug) AS slug, t.operation, t.priority, t.attempts,
           t.max_attempts, coalesce(t.completed_at, t.processed_at, t.created_at) AS failed_at,
           coalesce(left(t.error_message, $3::int), '') AS error
    FROM embedding_tasks t LEFT JOIN articles a ON a.id = t.article_id
    WHERE t.status = 'failed' AND embedq_fingerprint(t.error_message) = g.fingerprint
    ORDER BY embedq_fingerprint(t.error_message), t.completed_at DESC LIMIT $2) AS t
"""


async def group_folders(
    connection: Connection, groups: Sequence[str]
) -> Mapping[str, tuple[FolderCount, ...]]:
    """In which folders the articles of a group's newest tasks are: the three with the most, by fingerprint.

    Args:
        connection: To the migrated database.
        groups: Fingerprints.
    """
    async with connection.transaction():
        await connection.execute(PLAN)
        rows = await connection.fetch(_IN_FOLDERS, list(groups), FOLDERS_OF, _FOLDERS)
    found: defaultdict[str, tuple[FolderCount, ...]] = defaultdict(tuple)
    for row in rows:
        found[row["fingerprint"]] += (FolderCount(row["folder"], row["n"]),)
    return found


_IN_FOLDERS = """
SELECT g.fingerprint, f.folder, f.n
FROM unnest($1::text[]) AS g(fingerprint), LATERAL (
    SELECT coalesce(a.folder, '') AS folder, count(*) AS n
    FROM (SELECT t.article_id FROM embedding_tasks t
          WHERE t.status = 'failed' AND embedq_fingerprint(t.error_message) = g.fingerprint
          ORDER BY embedq_fingerprint(t.error_message), t.completed_at DESC LIMIT $2) AS t
    JOIN articles a ON a.id = t.article_id
    GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $3) AS f
ORDER BY g.fingerprint, f.n DESC, f.folder
"""


def _group(
    row: asyncpg.Record, failed: int, samples: Sequence[asyncpg.Record], folders: tuple[FolderCount, ...]
) -> FailureGroup:
    own = [sample for sample in samples if sample["fingerprint"] == row["fingerprint"]]
    tasks = tuple(FailedTask._make(sample[name] for name in FailedTask._fields) for sample in own)
    # A task that was set to failed by hand or by another program may lack a completion time.
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
        folders=folders,
    )


class Trends(NamedTuple):
    """How many tasks failed when, by group.

    Attributes:
        at: The database's time, at which the last bar ends.
        bar: Duration covered by one bar.
        counted: A bar with this value stands for that many tasks or more.
        bars: By fingerprint, oldest first.
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

    Costs one index lookup per bar and at most `counted` index entries each, however many have failed.

    Args:
        connection: To the migrated database.
        groups: Fingerprints; the bars of a group that no longer exists are empty.
        over: How far back from now.
        bars: Number of bars, at least 1.
        counted: Maximum number of tasks counted per bar.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(BY_INDEX)
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


async def overspent_tasks(connection: Connection) -> int:
    """Count failed tasks with more attempts than max_attempts, as another program's worker leaves them.

    Neither those an operator gave up on, nor those a later task supersedes: nothing is left to do about them.

    Args:
        connection: To the migrated database.
    """
    return int(await connection.fetchval(_OVERSPENT, timeout=SCAN_TIMEOUT_S))


_OVERSPENT = f"""
SELECT count(*) FROM embedding_tasks t
WHERE t.status = 'failed' AND t.attempts > t.max_attempts
  AND NOT {IS_CANCELLED} AND {RETRIABLE}
"""
