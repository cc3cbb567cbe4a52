"""Throughput, times, utilization and depth, from tasks and measurements of known times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from embedq_worker.errors import UsageError
from embedq_worker.insights import metrics as insight
from embedq_worker.insights.metrics import Metrics, Span, metrics
from embedq_worker.insights.stats import stats
from embedq_worker.schema.task_values import CANCELLED
from tests.support.content import queued_articles
from tests.support.databases import Connection, Database

ENDED = """
INSERT INTO embedding_tasks (operation, status, completed_at, error_message)
SELECT 'update', $1, $2, $4 FROM generate_series(1, $3)
"""
MEASURED = """
INSERT INTO performance_metrics (metric_type, value, unit, timestamp, metadata)
VALUES ($1, $2::float8, 'ms', $3, $4::text::jsonb)
"""
STEP = timedelta(microseconds=1)
OURS = '{"worker": "w", "n": %d}'


async def hour(connection: Connection, back: int) -> datetime:
    """The middle of a full hour some hours ago."""
    at: datetime = await connection.fetchval("SELECT date_trunc('hour', now() AT TIME ZONE 'UTC')")
    return at.replace(tzinfo=UTC) - timedelta(hours=back) + timedelta(minutes=30)


async def measured(
    connection: Connection, kind: str, value: float, at: datetime, metadata: str = OURS % 1
) -> None:
    """A row of performance_metrics."""
    await connection.execute(MEASURED, kind, value, at, metadata)


async def look(connection: Connection, hours: int = 5) -> Metrics:
    """By hour; the whole that is told is the sum of its parts."""
    found = await metrics(connection, by=Span.HOUR, since=timedelta(hours=hours))
    assert found.total.completed == sum(period.completed for period in found.periods)
    assert (found.total.since, found.total.until) == (found.periods[0].since, found.at)
    assert all(one.until == two.since for one, two in zip(found.periods, found.periods[1:], strict=False))
    return found


async def test_nothing_happened(connection: Connection) -> None:
    found = await look(connection)
    assert 5 <= len(found.periods) <= 6
    total = found.total
    assert (total.completed, total.failed, total.per_minute, total.exact) == (0, 0, 0, True)
    assert total.processing_ms is None
    assert [total.error_rate, total.utilization, total.depth_mean] == [None] * 3


async def test_what_ended_in_each_hour(connection: Connection) -> None:
    await connection.execute(ENDED, "completed", await hour(connection, 1), 60, None)
    await connection.execute(ENDED, "completed", await hour(connection, 2), 30, None)
    await connection.execute(ENDED, "failed", await hour(connection, 2), 10, "broke")
    await connection.execute(ENDED, "failed", await hour(connection, 2), 99, "Cancelled by administrator")
    await connection.execute(ENDED, "completed", await hour(connection, 50), 7, None)
    found = await look(connection)
    *_, before, last, now = found.periods
    assert (last.completed, last.failed, last.per_minute, last.error_rate) == (60, 0, 1.0, 0.0)
    assert (before.completed, before.failed, before.per_minute, before.error_rate) == (30, 10, 0.667, 0.25)
    assert (now.completed, now.error_rate) == (0, None)
    total = found.total
    assert (total.completed, total.failed, total.error_rate) == (90, 10, 0.1)
    assert total.per_minute == round(100 * timedelta(minutes=1) / (total.until - total.since), 3)


async def test_what_happened_at_the_edge_of_two_hours_belongs_to_the_later(connection: Connection) -> None:
    edge = (await look(connection)).periods[-2].since
    await connection.execute(ENDED, "completed", edge, 3, None)
    await connection.execute(ENDED, "failed", edge, 2, "broke")
    await measured(connection, "task_processing_time", 100, edge, "{}")
    await connection.execute(MEASURED.replace("'ms'", "'s'"), "task_processing_time", 3, edge - STEP, "{}")
    found = {
        period.since: (period.completed, period.failed, period.processing_ms and period.processing_ms.p50)
        for period in (await look(connection)).periods
    }
    assert found[edge] == (3, 2, 100)
    assert found[edge - timedelta(hours=1)] == (0, 0, 3_000)


async def test_percentiles_are_of_tasks_not_of_batches(connection: Connection) -> None:
    at = await hour(connection, 1)
    batch = '{"worker": "w", "tasks": %d, "wait_ms": %d}'
    await measured(connection, "task_processing_time", 1, at - timedelta(hours=1), batch % (999, 1))
    await measured(connection, "task_processing_time", 10, at, batch % (20, 4_000))
    await measured(connection, "task_processing_time", 100, at, batch % (30, 5_000))
    await measured(connection, "task_processing_time", 200, at, batch % (44, 5_000))
    await measured(connection, "task_processing_time", 900, at, batch % (5, 6_000))
    await measured(connection, "task_processing_time", 2_000, at, batch % (1, 7_000))
    processing = (await look(connection)).periods[-2].processing_ms
    wait = (await look(connection)).periods[-2].wait_ms
    assert processing is not None
    assert wait is not None
    assert (processing.p50, processing.p95, processing.p99) == (100, 900, 900)
    assert (wait.p50, wait.p95, wait.p99) == (5_000, 6_000, 6_000)


@pytest.mark.parametrize("metadata", ["null", "{}", '{"tasks": "many"}', "[]", '"text"'])
async def test_another_programs_row_speaks_for_one_task(connection: Connection, metadata: str) -> None:
    at = await hour(connection, 1)
    await measured(connection, "task_processing_time", 100, at, '{"worker": "w", "tasks": 3}')
    await measured(connection, "task_processing_time", 700, at, metadata)
    await measured(connection, "task_processing_time", float("nan"), at, metadata)
    await measured(connection, "queue_depth", 9_999, at, metadata)
    last = (await look(connection)).periods[-2]
    assert last.processing_ms is not None
    assert (last.processing_ms.p50, last.processing_ms.p95) == (100, 700)
    assert last.wait_ms is None
    assert last.depth_mean is None


async def test_means_are_weighted_and_idle_intervals_count(connection: Connection) -> None:
    at = await hour(connection, 1)
    await measured(connection, "embedding_generation_time", 100, at, OURS % 9)
    await measured(connection, "embedding_generation_time", 200, at, OURS % 1)
    await measured(connection, "database_query_time", 2, at, OURS % 4)
    await measured(connection, "worker_utilization", 0.8, at)
    for depth in (10, 20, 30, 40):
        await measured(connection, "queue_depth", depth, at, '{"worker": "w"}')
    await measured(connection, "queue_depth", 50, at - timedelta(hours=1), '{"worker": "w"}')
    *_, idle, last, _ = (await look(connection)).periods
    assert (idle.utilization, idle.depth_mean) == (0, 50)
    assert (last.embedding_ms, last.claim_ms) == (110, 2)
    assert last.utilization == 0.2
    assert (last.depth_mean, last.depth_max) == (25, 40)


async def test_samples_add_to_the_kind_alone_of_which_more_ended_than_is_counted(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insight, "COUNTED", 10)
    at = await hour(connection, 1)
    await connection.execute(ENDED, "completed", at, 5, None)  # two of them by another program
    await connection.execute(ENDED, "failed", at, 50, "broke")
    await measured(connection, "error_rate", 50 / 53, at, OURS % 53)
    period = (await look(connection)).periods[-2]
    assert (period.completed, period.failed, period.exact) == (5, 50, False)
    await connection.execute(ENDED, "completed", at, 20, None)
    await measured(connection, "error_rate", 0, at, OURS % 20)
    period = (await look(connection)).periods[-2]
    assert (period.completed, period.failed, period.exact) == (23, 50, False)
    assert period.error_rate == 0.6849


async def test_where_more_ended_than_is_counted_the_samples_are_added_up(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insight, "COUNTED", 5)
    at = await hour(connection, 1)
    await connection.execute(ENDED, "completed", at, 12, None)
    last = (await look(connection)).periods[-2]
    assert (last.completed, last.exact, last.error_rate) == (5, False, None)
    assert (await look(connection)).total.error_rate is None
    await measured(connection, "error_rate", 0, at, OURS % 12)
    found = await look(connection)
    assert (found.periods[-2].completed, found.total.completed, found.total.exact) == (12, 12, False)
    assert found.periods[-2].error_rate == found.total.error_rate == 0


async def test_what_was_cancelled_is_not_read_without_end(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insight, "COUNTED", 10)
    at = await hour(connection, 1)
    await connection.execute(ENDED, "completed", at, 3, None)
    await connection.execute(ENDED, "failed", at, 5_000, "Cancelled by administrator")
    await connection.execute(ENDED, "failed", at + timedelta(seconds=1), 2, "broke")
    asked = """SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
               WHERE relname = 'embedding_tasks'"""
    async with connection.transaction(isolation="repeatable_read"):
        before = await connection.fetchval(asked)
        last = (await look(connection)).periods[-2]
        assert await connection.fetchval(asked) - before < 100
    assert (last.completed, last.failed, last.exact, last.error_rate) == (3, 2, False, None)
    await measured(connection, "error_rate", 4 / 7, at, OURS % 7)  # cancelled tasks are in no sample
    last = (await look(connection)).periods[-2]
    assert (last.completed, last.failed, last.exact, last.error_rate) == (3, 4, False, 0.5714)


@pytest.fixture
def summer_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A local time zone in which two days of a year are not of 24 hours."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("summer_time")
@pytest.mark.parametrize(
    ("by", "since"),
    [
        (Span.MINUTE, timedelta(hours=2)),
        (Span.HOUR, timedelta(days=3)),
        (Span.DAY, timedelta(days=9)),
        (Span.DAY, timedelta(days=300)),
    ],
)
async def test_periods_begin_with_a_minute_an_hour_or_a_day(
    connection: Connection, by: Span, since: timedelta
) -> None:
    await connection.execute(ENDED, "completed", await hour(connection, 0) - timedelta(minutes=31), 3, None)
    found = await metrics(connection, by=by, since=since)
    assert found.total.completed == 3
    assert all(one.until == two.since for one, two in zip(found.periods, found.periods[1:], strict=False))
    assert found.periods[0].since <= found.at - since < found.periods[0].until
    finer = {Span.MINUTE: "%S.%f", Span.HOUR: "%M:%S.%f", Span.DAY: "%H:%M:%S.%f"}[by]
    assert {one.since.astimezone().strftime(finer).strip("0:.") for one in found.periods} == {""}


async def test_too_many_periods(connection: Connection) -> None:
    with pytest.raises(UsageError):
        await metrics(connection, by=Span.MINUTE, since=timedelta(days=7))


async def test_stats(connection: Connection, database: Database) -> None:
    await queued_articles(connection, 2, priority="high")
    now = await connection.fetchval("SELECT now() - interval '1 second'")
    await connection.execute(ENDED, "completed", now - timedelta(days=3), 30, None)
    await connection.execute(ENDED, "completed", now - timedelta(days=9), 50, None)
    await connection.execute(ENDED, "failed", now - timedelta(days=2), 20, "broke")
    await connection.execute(ENDED, "failed", now - timedelta(days=8), 10, CANCELLED)
    found = await stats(connection, database.settings)
    assert (found.queue.total, found.queue.by_priority["high"].pending) == (112, 2)
    assert (found.week.completed, found.week.failed, found.week.error_rate) == (30, 20, 0.4)
    assert (found.today.completed, found.success_rate) == (0, 0.8)
    assert [(group.error, group.count) for group in found.failing] == [("broke", 20), (CANCELLED, 10)]
