"""From which share of failures on `health` objects, and by which figures it knows that share."""

from __future__ import annotations

import pytest

from embedq_worker.insights.issues import Code
from tests.support.databases import Connection, Database
from tests.support.health_world import codes, end, look

SAMPLED = """
INSERT INTO performance_metrics (metric_type, value, unit, timestamp, metadata)
SELECT 'error_rate', $2::float8, 'ratio', now() - $1::text::interval,
       jsonb_build_object('worker', 'w', 'n', $3::int)
"""
"""What a worker writes of what it ended in an interval."""


@pytest.fixture
def few_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not more than 40 ended tasks of a kind are counted: of more, samples tell, or the newest."""
    monkeypatch.setattr("embedq_worker.insights.vitals.COUNTED", 40)


async def test_failure_rates(connection: Connection, database: Database) -> None:
    await end(connection, "completed", 30)
    await end(connection, "failed", 10)
    both = {Code.FAILURE_RATE_HOUR, Code.FAILURE_RATE_DAY}
    assert await codes(connection, database) == both
    assert await codes(connection, database, health_failure_rate=0.25) == set()
    await end(connection, "completed", 300, "3 hours")
    assert await codes(connection, database) == {Code.FAILURE_RATE_HOUR}
    await connection.execute("UPDATE embedding_tasks SET completed_at = completed_at - interval '2 days'")
    assert await codes(connection, database) == set()


async def test_a_few_or_cancelled_ones_are_no_failure_rate(
    connection: Connection, database: Database
) -> None:
    await end(connection, "failed", 4)
    await end(connection, "failed", 40, error="Cancelled by administrator")
    assert await codes(connection, database) == set()
    await end(connection, "failed", 1)
    assert await codes(connection, database) == {Code.FAILURE_RATE_HOUR, Code.FAILURE_RATE_DAY}


@pytest.mark.usefixtures("few_counted")
async def test_where_more_ended_than_is_counted_the_rate_is_of_the_newest(
    connection: Connection, database: Database
) -> None:
    await end(connection, "failed", 100, "50 minutes")
    await end(connection, "completed", 41, "20 minutes")
    assert await codes(connection, database) == set()
    await end(connection, "failed", 60, "10 minutes")
    one = {Code.FAILURE_RATE_HOUR}  # of the day no more is known than of the hour
    assert await codes(connection, database) == one


@pytest.mark.usefixtures("few_counted")
async def test_where_more_ended_than_is_counted_the_workers_samples_tell_the_rate(
    connection: Connection, database: Database
) -> None:
    await end(connection, "failed", 30, "50 minutes")
    await end(connection, "completed", 100, "20 minutes")
    await connection.execute(SAMPLED, "50 minutes", 1.0, 30)
    await connection.execute(SAMPLED, "20 minutes", 0.0, 100)
    found = await look(connection, database)
    assert {issue.code for issue in found.issues} == {Code.FAILURE_RATE_HOUR, Code.FAILURE_RATE_DAY}
    assert {issue.measured for issue in found.issues} == {0.2308}
    await connection.execute(SAMPLED, "3 hours", 0.0, 900)
    assert await codes(connection, database) == {Code.FAILURE_RATE_HOUR}


@pytest.mark.usefixtures("few_counted")
async def test_samples_of_our_workers_hide_no_failure_of_another_program(
    connection: Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await end(connection, "completed", 100, "20 minutes")
    await connection.execute(SAMPLED, "20 minutes", 0.0, 100)
    await end(connection, "failed", 10, "30 minutes")
    assert await codes(connection, database) == set()
    await end(connection, "failed", 10, "30 minutes")
    found = await look(connection, database)
    assert {issue.code for issue in found.issues} == {Code.FAILURE_RATE_HOUR, Code.FAILURE_RATE_DAY}
    assert {issue.measured for issue in found.issues} == {0.1667}
    with monkeypatch.context() as patched:
        patched.setattr("embedq_worker.insights.vitals.COMPLETED_COUNTED", 60)  # samples tell of more
        assert {issue.measured for issue in (await look(connection, database)).issues} == {0.1667}
    await end(connection, "completed", 200, "40 minutes")  # of the other program, too
    assert await codes(connection, database) == set()


@pytest.mark.usefixtures("few_counted")
async def test_more_failures_of_another_program_than_are_counted_are_not_taken_for_so_few(
    connection: Connection, database: Database
) -> None:
    await end(connection, "completed", 600, "40 minutes")
    await connection.execute(SAMPLED, "40 minutes", 0.0, 600)
    await end(connection, "failed", 300, "30 minutes")
    found = await look(connection, database)
    assert {issue.code for issue in found.issues} == {Code.FAILURE_RATE_HOUR}
    assert {issue.measured for issue in found.issues} == {1.0}  # of those since the oldest that is counted


@pytest.mark.usefixtures("few_counted")
async def test_many_cancelled_ones_hide_no_failure(connection: Connection, database: Database) -> None:
    await end(connection, "failed", 10, "20 minutes")
    await connection.execute(SAMPLED, "20 minutes", 1.0, 10)
    await end(connection, "failed", 60, error="Cancelled by administrator")
    assert await codes(connection, database) == {Code.FAILURE_RATE_HOUR, Code.FAILURE_RATE_DAY}


@pytest.mark.usefixtures("few_counted")
async def test_cancelled_ones_are_no_failures_beside_samples_either(
    connection: Connection, database: Database
) -> None:
    await end(connection, "completed", 100, "20 minutes")
    await connection.execute(SAMPLED, "20 minutes", 0.0, 100)
    await end(connection, "failed", 30, "30 minutes", error="Cancelled by administrator")
    assert await codes(connection, database) == set()


async def test_what_failed_and_was_retried_is_no_failure_whatever_was_sampled(
    connection: Connection, database: Database
) -> None:
    await connection.execute(SAMPLED, "20 minutes", 1.0, 100)
    await end(connection, "completed", 10, "5 minutes")
    assert await codes(connection, database) == set()


@pytest.mark.usefixtures("few_counted")
async def test_of_more_samples_than_are_read_the_newest_tell_and_of_no_longer_time(
    connection: Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.insights.vitals.SAMPLES", 2)
    for ago, rate in (("20 minutes", 0.0), ("30 minutes", 0.0), ("3 hours", 1.0)):
        await end(connection, "failed" if rate else "completed", 50, ago)
        await connection.execute(SAMPLED, ago, rate, 50)
    assert await codes(connection, database) == set()


@pytest.mark.usefixtures("few_counted")
async def test_what_other_programs_write_under_the_name_of_our_samples_tells_nothing(
    connection: Connection, database: Database
) -> None:
    await end(connection, "completed", 100, "20 minutes")
    assert await codes(connection, database) == set()  # where none of ours has ever worked
    await connection.execute(SAMPLED, "20 minutes", 0.0, 100)
    for value, metadata in (
        ("1", '{"n": 1000}'),
        ("NaN", '{"worker": "w", "n": 1}'),
        ("1", '{"worker": "w", "n": 1e300}'),
        ("1", '{"worker": "w", "n": "many"}'),
        ("1", None),
    ):
        await connection.execute(
            """INSERT INTO performance_metrics (metric_type, value, metadata)
               VALUES ('error_rate', $1::text::numeric, $2::text::jsonb)""",
            value,
            metadata,
        )
    assert await codes(connection, database) == set()
