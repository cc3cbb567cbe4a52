"""Throughput and times of the queue, by minute, hour or day.

Ended tasks are counted in the table of tasks, whoever processed them, up to `COUNTED` per period; cancelled
ones are among the failed. Times come from our own workers: each batch writes a row with the processing time
its tasks share and their mean wait. Percentiles are weighted by tasks, over the newest `SAMPLED` batches of a
period. Utilization and depth come from the samples that each worker writes; an interval without work counts
as zero utilization.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

import asyncpg

from embedq_worker.database.connections import Connection
from embedq_worker.errors import UsageError
from embedq_worker.insights.shares import rounded
from embedq_worker.queue.selection import PLAN
from embedq_worker.schema.task_values import IS_CANCELLED

COUNTED = 100_000
"""Tasks counted one by one per period; beyond that, the workers' own samples are added up."""

SAMPLED = 5_000
"""Maximum number of batches per period for percentiles."""

SAMPLES = 50_000
"""Maximum number of workers' samples read per period; each worker writes one a minute."""

MOST_PERIODS = 400


class Span(StrEnum):
    """The length of a period."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


class Spread(NamedTuple):
    """Percentiles, in milliseconds."""

    p50: float
    p95: float
    p99: float


class Period(NamedTuple):
    """What happened in a period; None for what was not measured.

    Attributes:
        completed: Tasks completed.
        failed: Tasks failed, without those that an operator cancelled.
        exact: False if counting was cut off; the counts are then lower bounds.
        per_minute: Completed and failed tasks per minute.
        error_rate: Share of failures among both, 0 to 1; also None if one of the counts was cut off.
        processing_ms: From claim to storage.
        wait_ms: From queueing to claim, the mean of a batch.
        embedding_ms: Mean duration of a request to the provider.
        claim_ms: Mean duration of a claim.
        utilization: Share of the workers' slots that were busy, 0 to 1.
        depth_mean: Mean number of tasks pending or in progress.
        depth_max: Maximum of the same.
    """

    since: datetime
    until: datetime
    completed: int
    failed: int
    exact: bool
    per_minute: float
    error_rate: float | None
    processing_ms: Spread | None
    wait_ms: Spread | None
    embedding_ms: float | None
    claim_ms: float | None
    utilization: float | None
    depth_mean: float | None
    depth_max: int | None


class Metrics(NamedTuple):
    """Metrics of the queue.

    Attributes:
        at: The database's time.
        periods: Oldest first; the last one is still running.
        total: All of them together.
    """

    at: datetime
    by: Span
    periods: tuple[Period, ...]
    total: Period


async def metrics(connection: Connection, *, by: Span, since: timedelta) -> Metrics:
    """Compute metrics in periods aligned to minutes, hours or days of the local time zone.

    Args:
        connection: To the migrated database.
        by: Length of a period.
        since: How far back; the period that contains this time is included as a whole.

    Raises:
        UsageError: There would be too many periods.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        at: datetime = await connection.fetchval("SELECT now()")
        edges = _edges(at, by, since)
        await connection.execute(PLAN)
        ended = await connection.fetch(_ENDED, edges[:-1], edges[1:], COUNTED)
        samples = await connection.fetch(_SAMPLES, edges[:-1], edges[1:], SAMPLES)
        spreads = await connection.fetch(_SPREADS, [*edges[:-1], edges[0]], [*edges[1:], edges[-1]], SAMPLED)
    found: list[dict[str, asyncpg.Record]] = [{} for _ in edges]  # of each period, then of the whole
    for row in [*spreads, *samples]:
        found[row["place"] - 1][row["kind"]] = row
    periods = tuple(
        _period(span, _Ended(row["completed"], row["failed"], row["cancelled"]), kinds)
        for span, row, kinds in zip(pairwise(edges), ended, found[:-1], strict=True)
    )
    whole = _period((edges[0], edges[-1]), _Ended(0, 0, 0), found[-1])
    return Metrics(at, by, periods, _with_sums(whole, periods))


def _edges(at: datetime, by: Span, since: timedelta) -> list[datetime]:
    edge = _floor(at - since, by)
    edges = [edge]
    while (edge := _next(edge, by)) < at:
        edges.append(edge)
        if len(edges) > MOST_PERIODS:
            raise UsageError(
                f"that is more than {MOST_PERIODS} periods", "choose longer periods or a shorter time span"
            )
    return [*edges, at]


def _floor(when: datetime, by: Span) -> datetime:
    """The beginning of the minute, hour or day in the local time zone."""
    local = when.astimezone()
    if by is Span.DAY:
        return _midnight(local.date())
    return local.replace(minute=0 if by is Span.HOUR else local.minute, second=0, microsecond=0)


def _next(edge: datetime, by: Span) -> datetime:
    if by is Span.DAY:  # a day may have 23 or 25 hours
        return _midnight(edge.date() + timedelta(days=1))
    return edge + (timedelta(hours=1) if by is Span.HOUR else timedelta(minutes=1))


def _midnight(day: date) -> datetime:
    """When a day begins in the local time zone."""
    return datetime.combine(day, time.min).astimezone()


class _Ended(NamedTuple):
    """Tasks of a period: completed, and failed plus cancelled, each counted up to `COUNTED`."""

    completed: int
    failed: int
    cancelled: int


def _period(span: tuple[datetime, datetime], ended: _Ended, found: dict[str, asyncpg.Record]) -> Period:
    completed, failed = ended.completed, ended.failed
    more_completed, more_failed = completed == COUNTED, failed + ended.cancelled == COUNTED
    cut_off = more_completed or more_failed
    exact = not cut_off
    if rates := found.get("error_rate"):
        known, failures = int(rates["n"] or 0), round(rates["weighted"] or 0)
        completed = max(completed, known - failures) if more_completed else completed
        failed = max(failed, failures) if more_failed else failed
        cut_off = COUNTED in (completed, failed)
    depth = found.get("queue_depth")
    return Period(
        since=span[0],
        until=span[1],
        completed=completed,
        failed=failed,
        exact=exact,
        per_minute=_per_minute(completed + failed, *span),
        error_rate=None if cut_off or not completed + failed else rounded(failed / (completed + failed)),
        processing_ms=_spread(found.get("processing")),
        wait_ms=_spread(found.get("wait")),
        embedding_ms=_mean(found.get("embedding_generation_time")),
        claim_ms=_mean(found.get("database_query_time")),
        utilization=_utilization(found.get("worker_utilization"), depth),
        depth_mean=None if depth is None else round(depth["total"] / depth["rows"], 1),
        depth_max=None if depth is None else int(depth["most"]),
    )


def _with_sums(total: Period, periods: Sequence[Period]) -> Period:
    """The total, with counts summed over the periods, which are more exact."""
    completed, failed = sum(one.completed for one in periods), sum(one.failed for one in periods)
    ended = completed + failed
    known = ended and all(one.error_rate is not None for one in periods if one.completed + one.failed)
    return total._replace(
        completed=completed,
        failed=failed,
        exact=all(one.exact for one in periods),
        per_minute=_per_minute(ended, total.since, total.until),
        error_rate=rounded(failed / ended) if known else None,
    )


def _per_minute(ended: int, since: datetime, until: datetime) -> float:
    return round(ended / max((until - since).total_seconds() / 60, 1 / 60), 3)


def _spread(row: asyncpg.Record | None) -> Spread | None:
    return None if row is None else Spread(*(round(row[name], 1) for name in ("p50", "p95", "p99")))


def _mean(row: asyncpg.Record | None) -> float | None:
    return None if row is None or not row["n"] else round(row["weighted"] / row["n"], 2)


def _utilization(busy: asyncpg.Record | None, intervals: asyncpg.Record | None) -> float | None:
    """Mean utilization: every interval writes a depth, but only those with work write a utilization."""
    if intervals is None:
        return None
    return rounded(min(busy["total"] / intervals["rows"], 1.0)) if busy else 0.0


_ENDED = f"""
SELECT b.place,
       (SELECT count(*) FROM (
            SELECT FROM embedding_tasks
            WHERE status = 'completed' AND completed_at >= b.since AND completed_at < b.until
            LIMIT $3) AS c) AS completed,
       f.failed, f.cancelled
FROM unnest($1::timestamptz[], $2::timestamptz[]) WITH ORDINALITY AS b(since, until, place),
LATERAL (SELECT count(*) FILTER (WHERE NOT is_cancelled) AS failed,
                count(*) FILTER (WHERE is_cancelled) AS cancelled
         FROM (SELECT {IS_CANCELLED} AS is_cancelled FROM embedding_tasks
               WHERE status = 'failed' AND completed_at >= b.since AND completed_at < b.until
               ORDER BY completed_at DESC LIMIT $3) AS looked_at) AS f
ORDER BY b.place
"""

# A number from a document that any program may have written.
_NUMBER = """CASE jsonb_typeof(m.metadata -> '{0}') WHEN 'number' THEN CASE
    WHEN (m.metadata ->> '{0}')::numeric BETWEEN 0 AND 1e12 THEN (m.metadata ->> '{0}')::float8 END END"""

# All tasks of a batch are claimed and stored together, so its row counts for each of them. Rows of another
# program have neither key and count for one task.
_SPREADS = f"""
WITH measured AS (
    SELECT b.place, v.kind, v.ms, s.tasks
    FROM unnest($1::timestamptz[], $2::timestamptz[]) WITH ORDINALITY AS b(since, until, place),
    LATERAL (SELECT CASE m.unit WHEN 's' THEN m.value * 1000 ELSE m.value END::float8 AS ms,
                    coalesce({_NUMBER.format("tasks")}, 1) AS tasks, {_NUMBER.format("wait_ms")} AS wait_ms
             FROM performance_metrics m
             WHERE m.metric_type = 'task_processing_time' AND m.value BETWEEN 0 AND 1e12
               AND m.timestamp >= b.since AND m.timestamp < b.until
             ORDER BY m.timestamp DESC LIMIT $3) AS s,
    LATERAL (VALUES ('processing', s.ms), ('wait', s.wait_ms)) AS v(kind, ms)
    WHERE v.ms IS NOT NULL
), ranked AS (
    SELECT place, kind, ms, sum(tasks) OVER (PARTITION BY place, kind ORDER BY ms) AS upto,
           sum(tasks) OVER (PARTITION BY place, kind) AS total
    FROM measured
)
SELECT place, kind, min(ms) FILTER (WHERE upto >= 0.50 * total) AS p50,
       min(ms) FILTER (WHERE upto >= 0.95 * total) AS p95, min(ms) FILTER (WHERE upto >= 0.99 * total) AS p99
FROM ranked GROUP BY place, kind
"""

# Rows of another program under the same names have no worker in their metadata. The last place is the total.
_SAMPLES = f"""
SELECT coalesce(b.place, cardinality($1::timestamptz[]) + 1) AS place, t.kind,
       count(*) AS rows, sum(s.value) AS total, max(s.value) AS most,
       sum(s.n) AS n, sum(s.value * s.n) AS weighted
FROM unnest($1::timestamptz[], $2::timestamptz[]) WITH ORDINALITY AS b(since, until, place),
     (VALUES ('error_rate'), ('queue_depth'), ('worker_utilization'), ('embedding_generation_time'),
             ('database_query_time')) AS t(kind),
LATERAL (SELECT m.value::float8 AS value, {_NUMBER.format("n")} AS n
         FROM performance_metrics m
         WHERE m.metric_type = t.kind AND m.timestamp >= b.since AND m.timestamp < b.until
           AND m.metadata ? 'worker' AND m.value BETWEEN 0 AND 1e12
         ORDER BY m.timestamp DESC LIMIT $3) AS s
GROUP BY GROUPING SETS ((b.place, t.kind), (t.kind))
"""
