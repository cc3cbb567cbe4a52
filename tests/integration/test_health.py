"""What `health` objects to, each from a database in that state, and from which value on."""

from __future__ import annotations

import pytest

from embedq_worker.insights.health import Health, health
from embedq_worker.insights.issues import Code
from embedq_worker.insights.overview import overview
from embedq_worker.schema import migrations
from tests.commands.actors import start_worker
from tests.support.content import queued_articles
from tests.support.databases import Connection, Database

ENDED = """
INSERT INTO embedding_tasks (operation, status, completed_at, error_message)
SELECT 'update', $1, now() - $2::text::interval, $4 FROM generate_series(1, $3)
"""
SAMPLED = """
INSERT INTO performance_metrics (metric_type, value, unit, timestamp, metadata)
SELECT 'error_rate', $2::float8, 'ratio', now() - $1::text::interval,
       jsonb_build_object('worker', 'w', 'n', $3::int)
"""
"""What a worker writes of what it ended in an interval."""


MEASURED = {"pending": Code.BACKLOG, "idle": Code.STALLED}
"""Codes of the measures that have another name."""


async def codes(connection: Connection, database: Database, **settings: float) -> set[str]:
    """What is objected to with these settings."""
    return {issue.code for issue in (await look(connection, database, **settings)).issues}


async def look(connection: Connection, database: Database, **settings: float) -> Health:
    """The verdict with these settings."""
    found = await health(connection, database.settings.model_copy(update=settings))
    assert found.healthy is not bool(found.issues)
    assert all(issue.message and issue.advice for issue in found.issues)
    over = {row.name for row in found.measures if row.threshold is not None and row.value > row.threshold}
    reported = {issue.code for issue in found.issues}
    assert {MEASURED.get(name, name) for name in over} <= reported
    return found


async def end(
    connection: Connection, status: str, count: int, ago: str = "1 minute", error: str | None = None
) -> None:
    """Tasks that ended a while ago."""
    await connection.execute(ENDED, status, ago, count, error)


async def claim(connection: Connection, ago: str) -> None:
    """Take everything in hand, as another program does, a while ago; it was due then."""
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'processing', processed_at = now() - $1::text::interval,
                                      scheduled_at = now() - $1::text::interval""",
        ago,
    )


async def test_an_idle_queue_is_healthy_without_a_worker(connection: Connection, database: Database) -> None:
    found = await look(connection, database)
    assert found.healthy
    assert {measure.name: measure.value for measure in found.measures}["pending"] == 0


async def test_a_busy_queue_is_healthy(connection: Connection, database: Database) -> None:
    await start_worker(connection)
    await queued_articles(connection, 3)
    await claim(connection, "5 minutes")
    await queued_articles(connection, 3, slug="more")
    await end(connection, "completed", 50)
    await end(connection, "failed", 3)
    assert await codes(connection, database) == set()


async def test_no_worker_while_work_is_due(connection: Connection, database: Database) -> None:
    await queued_articles(connection, 1)
    assert await codes(connection, database) == {Code.NO_WORKER}
    await start_worker(connection, silent="60 s")
    assert await codes(connection, database) == {Code.NO_WORKER}
    await start_worker(connection)
    assert await codes(connection, database) == set()


async def test_work_that_is_not_due_needs_no_worker(connection: Connection, database: Database) -> None:
    await queued_articles(connection, 1)
    await connection.execute("UPDATE embedding_tasks SET scheduled_at = now() + interval '1 hour'")
    assert await codes(connection, database) == set()


@pytest.mark.parametrize(("order", "code"), [("stop", Code.STOPPED), ("pause", Code.PAUSED)])
async def test_an_order_in_force(connection: Connection, database: Database, order: str, code: Code) -> None:
    await start_worker(connection)
    await queued_articles(connection, 1)
    await connection.execute("SELECT embedq_command($1, 'ann@ops')", order)
    found = await look(connection, database)
    assert [issue.code for issue in found.issues] == [code]
    assert "ann@ops" in found.issues[0].message


async def test_a_backlog(connection: Connection, database: Database) -> None:
    await start_worker(connection)
    await queued_articles(connection, 3)
    assert await codes(connection, database, health_backlog=3) == set()
    found = await look(connection, database, health_backlog=2)
    assert [(issue.code, issue.measured, issue.threshold) for issue in found.issues] == [("backlog", 3, 2)]


async def test_a_backlog_of_paused_workers_is_not_said_to_need_more_of_them(
    connection: Connection, database: Database
) -> None:
    await start_worker(connection)
    await queued_articles(connection, 3)
    (working,) = (await look(connection, database, health_backlog=2)).issues
    await connection.execute("SELECT embedq_command('pause', 'ann@ops')")
    _, paused = (await look(connection, database, health_backlog=2)).issues
    assert paused.code == working.code
    assert paused.advice != working.advice


async def test_a_task_that_nobody_takes(connection: Connection, database: Database) -> None:
    await start_worker(connection)
    await queued_articles(connection, 1)
    await connection.execute("UPDATE embedding_tasks SET scheduled_at = now() - interval '30 minutes'")
    assert await codes(connection, database, health_wait_s=2_000) == set()
    assert await codes(connection, database, health_wait_s=1_500) == {Code.OLDEST_PENDING}


async def test_a_stall(connection: Connection, database: Database) -> None:
    await start_worker(connection)
    await connection.execute("UPDATE embedq_workers SET started_at = now() - interval '1 day'")
    await queued_articles(connection, 3)
    await claim(connection, "15 minutes")
    assert await codes(connection, database) == {Code.STALLED}
    assert await codes(connection, database, health_stall_s=1_000) == set()
    await end(connection, "completed", 1, "12 minutes")
    assert await codes(connection, database) == {Code.STALLED}
    await end(connection, "failed", 1, "2 minutes")
    assert await codes(connection, database) == set()


async def test_what_was_begun_just_now_is_no_stall(connection: Connection, database: Database) -> None:
    await end(connection, "completed", 1, "2 days")
    await start_worker(connection)
    await connection.execute("UPDATE embedq_workers SET started_at = now() - interval '2 days'")
    await queued_articles(connection, 1)
    await claim(connection, "5 minutes")  # work came after two days without any
    assert await codes(connection, database) == set()
    await connection.execute("UPDATE embedding_tasks SET scheduled_at = now() - interval '1 hour'")
    assert await codes(connection, database) == {Code.STALLED}
    await connection.execute("UPDATE embedq_workers SET started_at = now() - interval '2 minutes'")
    assert await codes(connection, database) == set()


async def test_stuck_tasks(connection: Connection, database: Database) -> None:
    await start_worker(connection)
    await queued_articles(connection, 2)
    await claim(connection, "40 minutes")
    assert Code.STUCK in await codes(connection, database)
    assert Code.STUCK not in await codes(connection, database, health_stuck=2)


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


async def test_where_more_ended_than_is_counted_the_rate_is_of_the_newest(
    connection: Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.insights.vitals.COUNTED", 40)
    await end(connection, "failed", 100, "50 minutes")
    await end(connection, "completed", 41, "20 minutes")
    assert await codes(connection, database) == set()
    await end(connection, "failed", 60, "10 minutes")
    one = {Code.FAILURE_RATE_HOUR}  # of the day no more is known than of the hour
    assert await codes(connection, database) == one


async def test_where_more_ended_than_is_counted_the_workers_samples_tell_the_rate(
    connection: Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.insights.vitals.COUNTED", 40)
    await end(connection, "failed", 30, "50 minutes")
    await end(connection, "completed", 100, "20 minutes")
    await connection.execute(SAMPLED, "50 minutes", 1.0, 30)
    await connection.execute(SAMPLED, "20 minutes", 0.0, 100)
    found = await look(connection, database)
    assert {issue.code for issue in found.issues} == {Code.FAILURE_RATE_HOUR, Code.FAILURE_RATE_DAY}
    assert {issue.measured for issue in found.issues} == {0.2308}
    await connection.execute(SAMPLED, "3 hours", 0.0, 900)
    assert await codes(connection, database) == {Code.FAILURE_RATE_HOUR}


async def test_samples_of_our_workers_hide_no_failure_of_another_program(
    connection: Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.insights.vitals.COUNTED", 40)
    await end(connection, "completed", 100, "20 minutes")
    await connection.execute(SAMPLED, "20 minutes", 0.0, 100)
    await end(connection, "failed", 10, "30 minutes")
    assert await codes(connection, database) == set()
    await end(connection, "failed", 10, "30 minutes")
    found = await look(connection, database)
    assert {issue.code for issue in found.issues} == {Code.FAILURE_RATE_HOUR, Code.FAILURE_RATE_DAY}
    assert {issue.measured for issue in found.issues} == {0.1667}
    await end(connection, "completed", 200, "40 minutes")  # of the other program, too
    assert await codes(connection, database) == set()


async def test_many_cancelled_ones_hide_no_failure(
    connection: Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.insights.vitals.COUNTED", 40)
    await end(connection, "failed", 10, "20 minutes")
    await connection.execute(SAMPLED, "20 minutes", 1.0, 10)
    await end(connection, "failed", 60, error="Cancelled by administrator")
    assert await codes(connection, database) == {Code.FAILURE_RATE_HOUR, Code.FAILURE_RATE_DAY}


async def test_an_open_breaker_of_a_provider_in_use(connection: Connection, database: Database) -> None:
    await connection.execute(
        "SELECT * FROM embedq_provider_failed('m e', 'unavailable', 'it is down', 'start it', NULL, 1)"
    )
    assert await codes(connection, database) == set()  # of a provider that nobody uses
    await start_worker(connection)
    found = await look(connection, database)
    assert [(issue.code, issue.advice) for issue in found.issues] == [(Code.PROVIDER_OPEN, "start it")]
    assert "it is down" in found.issues[0].message


async def test_a_provider_that_asks_for_a_pause_of_a_day(connection: Connection, database: Database) -> None:
    await connection.execute(
        "SELECT * FROM embedq_provider_failed('m e', 'rate_limited', 'too many', '', 86400000, 5)"
    )
    assert await codes(connection, database) == set()  # of a provider that nobody uses
    await start_worker(connection)
    assert await codes(connection, database) == {Code.PROVIDER_COOLING}
    assert await codes(connection, database, health_wait_s=100_000) == set()


async def test_held_by_the_provider_is_no_stall(connection: Connection, database: Database) -> None:
    await start_worker(connection)
    await connection.execute("UPDATE embedq_workers SET started_at = now() - interval '1 day'")
    await queued_articles(connection, 3)
    await claim(connection, "15 minutes")
    await connection.execute(
        "SELECT * FROM embedq_provider_failed('m e', 'unavailable', 'down', '', NULL, 1)"
    )
    assert await codes(connection, database) == {Code.PROVIDER_OPEN}


async def test_a_provider_that_nobody_uses_any_more_explains_nothing(
    connection: Connection, database: Database
) -> None:
    await start_worker(connection)
    await connection.execute("UPDATE embedq_workers SET started_at = now() - interval '1 day'")
    await queued_articles(connection, 3)
    await claim(connection, "15 minutes")
    await queued_articles(connection, 3, slug="more")
    before = await look(connection, database, health_backlog=2)
    assert {issue.code for issue in before.issues} == {Code.BACKLOG, Code.STALLED}
    await connection.execute(
        "SELECT * FROM embedq_provider_failed('former', 'misconfigured', 'no such model', '', NULL, 1)"
    )
    after = await look(connection, database, health_backlog=2)
    assert [(issue.code, issue.advice) for issue in after.issues] == [
        (issue.code, issue.advice) for issue in before.issues
    ]


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE embedding_tasks DISABLE TRIGGER embedq_count_update",
        "DROP TRIGGER embedq_count_insert ON embedding_tasks",
        "INSERT INTO embedq_count_deltas VALUES ('completed', 'low', -1)",
        "SET session_replication_role = replica; DELETE FROM embedding_tasks; RESET session_replication_role",
    ],
)
async def test_counts_that_cannot_be_right(connection: Connection, database: Database, damage: str) -> None:
    await queued_articles(connection, 1)
    await connection.execute(damage)
    assert Code.COUNT_DRIFT in await codes(connection, database)


async def test_an_older_schema(empty_database: Database) -> None:
    await migrations.up(empty_database.settings, target=5)
    connection = await empty_database.connect()
    found = await look(connection, empty_database)
    assert [issue.code for issue in found.issues] == [Code.SCHEMA]
    assert "--migrate" in found.issues[0].advice


async def test_a_newer_schema(connection: Connection, database: Database) -> None:
    await connection.execute(
        """INSERT INTO embedq_migrations (version, name, checksum, program, seconds)
           VALUES (900, 'future', 'x', '9.0', 1)"""
    )
    await queued_articles(connection, 1)
    assert await codes(connection, database) == {Code.SCHEMA, Code.NO_WORKER}


async def test_nothing_there_at_all(empty_database: Database) -> None:
    connection = await empty_database.connect()
    assert await codes(connection, empty_database) == {Code.SCHEMA}


async def test_dead_rows(connection: Connection, database: Database) -> None:
    if connection.get_server_version().major < 15:
        pytest.skip("the statistics of a session cannot be asked for at once")
    await connection.execute("ALTER TABLE embedding_tasks SET (autovacuum_enabled = false)")
    await end(connection, "completed", 30_000)
    for codes_then in (set(), set(), set(), {Code.DEAD_ROWS}):
        await connection.execute("UPDATE embedding_tasks SET metadata = '{}'")
        await connection.execute("SELECT pg_stat_force_next_flush()")
        assert await codes(connection, database) == codes_then
    assert await codes(connection, database, health_dead_rows=0.9) == set()
    await connection.execute("VACUUM embedding_tasks")
    assert await codes(connection, database) == set()


async def test_after_a_crash_of_the_server_no_rows_are_taken_for_dead_that_are_only_not_counted(
    connection: Connection, database: Database
) -> None:
    if connection.get_server_version().major < 15:
        pytest.skip("the statistics of a session cannot be asked for at once")
    await connection.execute("ALTER TABLE embedding_tasks SET (autovacuum_enabled = false)")
    await end(connection, "completed", 30_000)
    await connection.execute("VACUUM ANALYZE embedding_tasks")
    # The server begins to count anew, as after a crash.
    await connection.execute("SELECT pg_stat_reset_single_table_counters('embedding_tasks'::regclass)")
    await connection.execute(
        """UPDATE embedding_tasks SET metadata = '{}'
           WHERE id IN (SELECT id FROM embedding_tasks LIMIT 12000)"""
    )
    await connection.execute("SELECT pg_stat_force_next_flush()")
    assert await codes(connection, database) == set()


async def test_it_agrees_with_the_overview(connection: Connection, database: Database) -> None:
    await queued_articles(connection, 4)
    seen = await overview(connection, database.settings)
    measures = {measure.name: measure.value for measure in (await look(connection, database)).measures}
    assert measures["pending"] == seen.queue.counts.pending
    assert measures["processing"] == seen.queue.counts.processing
