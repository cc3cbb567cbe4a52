"""What `health` objects to, each from a database in that state, and from which value on."""

from __future__ import annotations

import asyncio

import pytest

from embedq_worker.database.connections import connected
from embedq_worker.insights.issues import Code
from embedq_worker.insights.overview import overview
from embedq_worker.queue.words import REFUSED
from embedq_worker.schema import migrations
from tests.commands.actors import start_worker
from tests.support.content import queued_articles, until_true
from tests.support.databases import Connection, Database
from tests.support.health_world import claim, codes, end, look


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
    for _ in range(2):
        await start_worker(connection)
    found = await look(connection, database)
    assert found.healthy
    assert {measure.name: measure.value for measure in found.measures}["workers"] == 2


async def test_sessions_that_are_read_only_by_default(connection: Connection, database: Database) -> None:
    own = database.settings.model_copy(update={"db_read_only": True})
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET work_mem = '64MB'")  # not a boolean
    async with connected(own) as only_mine:
        assert await codes(only_mine, database) == set()
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = true")
        assert await codes(await database.connect(), database) == {Code.READ_ONLY}
        assert await codes(only_mine, database) == {Code.READ_ONLY}


async def test_heartbeats_from_before_a_clock_was_set_back_are_no_sign_of_life(
    connection: Connection, database: Database
) -> None:
    await start_worker(connection, silent="-5 hours")
    await queued_articles(connection, 1)
    assert await codes(connection, database) == {Code.NO_WORKER}
    beat = "UPDATE embedding_worker_status SET is_running = true, last_heartbeat = now() + interval '5 hours'"
    await connection.execute(beat)  # of another program, whose clock is ahead
    assert await codes(connection, database) == set()


async def test_tasks_created_in_the_future(connection: Connection, database: Database) -> None:
    await start_worker(connection)
    await queued_articles(connection, 2)
    await connection.execute("UPDATE embedding_tasks SET scheduled_at = now() + interval '3 hours'")
    assert await codes(connection, database) == set()
    await connection.execute("UPDATE embedding_tasks SET created_at = 'infinity'")
    assert await codes(connection, database) == set()
    await connection.execute("UPDATE embedding_tasks SET created_at = now() + interval '2 hours'")
    (issue,) = (await look(connection, database)).issues
    assert issue.code == Code.CLOCK
    assert issue.measured == pytest.approx(7_200, abs=60)
    await connection.execute("UPDATE embedding_tasks SET scheduled_at = now()")
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
    await connection.execute(
        """UPDATE embedq_control SET stopped_at = stopped_at - interval '1 hour',
                                     paused_at = paused_at - interval '1 hour'"""
    )
    (issue,) = (await look(connection, database)).issues
    assert issue.code == code
    assert issue.measured == pytest.approx(3_600, abs=60)
    assert "ann@ops" in issue.message


async def test_what_the_database_refuses_a_living_worker(connection: Connection, database: Database) -> None:
    for _ in range(2):
        await start_worker(connection)
    await connection.execute("UPDATE embedq_workers SET note = 'provider: 429'")
    assert await codes(connection, database) == set()
    refused = await start_worker(connection)
    await connection.execute(
        "UPDATE embedq_workers SET note = $2 WHERE id = $1", refused, f"{REFUSED}disk full"
    )
    (issue,) = (await look(connection, database)).issues
    assert (issue.code, issue.measured) == (Code.DATABASE_REFUSES, 1)
    await connection.execute(
        "UPDATE embedq_workers SET heartbeat_at = now() - interval '1 hour' WHERE id = $1", refused
    )
    assert await codes(connection, database) == set()


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


async def test_stuck_tasks(connection: Connection, database: Database) -> None:
    await start_worker(connection)
    await queued_articles(connection, 2)
    await claim(connection, "40 minutes")
    assert Code.STUCK in await codes(connection, database)
    assert Code.STUCK not in await codes(connection, database, health_stuck=2)


async def test_an_open_breaker_of_a_provider_in_use(connection: Connection, database: Database) -> None:
    await connection.execute(
        "SELECT * FROM embedq_provider_failed('m e', 'unavailable', 'it is down', 'start it', NULL, 1)"
    )
    assert await codes(connection, database) == set()  # of a provider that nobody uses
    await start_worker(connection)
    found = await look(connection, database)
    assert [(issue.code, issue.advice) for issue in found.issues] == [(Code.PROVIDER_OPEN, "start it")]
    assert "it is down" in found.issues[0].message
    await connection.execute(
        """UPDATE embedq_providers SET opened_at = now() - interval '1 hour',
                                       retry_at = now() + interval '1 day'"""
    )
    (issue,) = (await look(connection, database)).issues
    assert issue.code == Code.PROVIDER_OPEN
    assert issue.measured == pytest.approx(3_600, abs=60)


async def test_a_provider_that_asks_for_a_pause_of_a_day(connection: Connection, database: Database) -> None:
    await connection.execute(
        "SELECT * FROM embedq_provider_failed('m e', 'rate_limited', 'too many', '', 86400000, 5)"
    )
    assert await codes(connection, database) == set()  # of a provider that nobody uses
    await start_worker(connection)
    assert await codes(connection, database) == {Code.PROVIDER_COOLING}
    assert await codes(connection, database, health_wait_s=100_000) == set()


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE embedding_tasks DISABLE TRIGGER embedq_count_update",
        "ALTER TABLE embedding_tasks ENABLE REPLICA TRIGGER embedq_count_update",
        "DROP TRIGGER embedq_count_insert ON embedding_tasks",
        "INSERT INTO embedq_count_deltas VALUES ('completed', 'low', -1)",
        "INSERT INTO embedq_count_deltas VALUES ('processing', 'low', 1)",
        "SET session_replication_role = replica; DELETE FROM embedding_tasks; RESET session_replication_role",
    ],
)
async def test_counts_that_cannot_be_right(connection: Connection, database: Database, damage: str) -> None:
    await queued_articles(connection, 1)
    await connection.execute(damage)
    assert Code.COUNT_DRIFT in await codes(connection, database)


async def test_more_tasks_than_are_counted_one_by_one_are_no_wrong_count(
    connection: Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.insights.vitals.COUNTED", 2)
    await start_worker(connection)
    await queued_articles(connection, 3)
    await claim(connection, "1 minute")
    await queued_articles(connection, 3, slug="more")
    assert await codes(connection, database) == set()


async def test_triggers_that_run_even_on_replicas_count(connection: Connection, database: Database) -> None:
    await connection.execute("ALTER TABLE embedding_tasks ENABLE ALWAYS TRIGGER embedq_count_update")
    assert await codes(connection, database) == set()


async def test_an_older_schema(empty_database: Database) -> None:
    await migrations.up(empty_database.settings, target=5)
    connection = await empty_database.connect()
    found = await look(connection, empty_database)
    assert [issue.code for issue in found.issues] == [Code.SCHEMA]
    assert "--migrate" in found.issues[0].advice


async def test_an_index_is_invalid_once_its_build_has_failed(
    connection: Connection, database: Database
) -> None:
    reader, builder = await database.connect(), await database.connect()
    await connection.execute("DROP INDEX embedq_audit_time_idx")
    await reader.execute("BEGIN; LOCK TABLE embedding_audit_logs IN ROW EXCLUSIVE MODE")
    building = asyncio.create_task(
        builder.execute("CREATE INDEX CONCURRENTLY embedq_audit_time_idx ON embedding_audit_logs (timestamp)")
    )
    await until_true(
        connection,
        "SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid AND indexrelid::regclass::text "
        "= 'embedq_audit_time_idx')",
    )
    assert await codes(connection, database) == set()
    await connection.execute("SELECT pg_cancel_backend($1)", builder.get_server_pid())
    await asyncio.gather(building, return_exceptions=True)
    assert "REINDEX" in (await look(connection, database)).issues[0].advice


async def test_a_queue_that_is_a_view_is_called_that(connection: Connection, database: Database) -> None:
    await connection.execute(
        """ALTER TABLE embedding_tasks RENAME TO elsewhere;
           CREATE VIEW embedding_tasks AS SELECT * FROM elsewhere"""
    )
    found = await look(connection, database)
    assert found.issues[0].code == Code.SCHEMA
    assert "view" in found.issues[0].message
    assert "rollback" not in found.issues[0].advice


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


async def test_dead_rows(connection: Connection, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.get_server_version().major < 15:
        pytest.skip("the statistics of a session cannot be asked for at once")
    monkeypatch.setattr("embedq_worker.insights.health.LEAST_DEAD_ROWS", 1_000)
    await connection.execute("ALTER TABLE embedding_tasks SET (autovacuum_enabled = false)")
    await end(connection, "completed", 300)
    for codes_then in (set(), set(), set(), {Code.DEAD_ROWS}):
        await connection.execute("UPDATE embedding_tasks SET metadata = '{}'")
        await connection.execute("SELECT pg_stat_force_next_flush()")
        assert await codes(connection, database) == codes_then
    assert await codes(connection, database, health_dead_rows=0.9) == set()
    await connection.execute("VACUUM embedding_tasks")
    assert await codes(connection, database) == set()


async def test_after_a_crash_of_the_server_no_rows_are_taken_for_dead_that_are_only_not_counted(
    connection: Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.get_server_version().major < 15:
        pytest.skip("the statistics of a session cannot be asked for at once")
    monkeypatch.setattr("embedq_worker.insights.health.LEAST_DEAD_ROWS", 1_000)
    await connection.execute("ALTER TABLE embedding_tasks SET (autovacuum_enabled = false)")
    await end(connection, "completed", 3_000)
    await connection.execute("SELECT pg_stat_force_next_flush()")
    await connection.execute("VACUUM ANALYZE embedding_tasks")
    # The server begins to count anew, as after a crash.
    await connection.execute("SELECT pg_stat_reset_single_table_counters('embedding_tasks'::regclass)")
    await connection.execute(
        """UPDATE embedding_tasks SET metadata = '{}'
           WHERE id IN (SELECT id FROM embedding_tasks LIMIT 1200)"""
    )
    await connection.execute("SELECT pg_stat_force_next_flush()")
    assert await codes(connection, database) == set()


async def test_who_cancels_in_psql_may_sign_as_they_like(connection: Connection, database: Database) -> None:
    for error in ("Cancelled by administrator", "cancelled by Ann: the wrong import", "CANCELLED BY OPS"):
        await end(connection, "failed", 2, error=error)
    await end(connection, "failed", 2, error="the request was cancelled by the proxy")
    seen = await overview(connection, database.settings)
    measures = {measure.name: measure.value for measure in (await look(connection, database)).measures}
    assert seen.queue.cancelled == 6
    assert measures["failure_rate_hour"] == 1.0  # of the two that failed


async def test_it_agrees_with_the_overview(connection: Connection, database: Database) -> None:
    await queued_articles(connection, 4)
    seen = await overview(connection, database.settings)
    measures = {measure.name: measure.value for measure in (await look(connection, database)).measures}
    assert measures["pending"] == seen.queue.counts.pending
    assert measures["processing"] == seen.queue.counts.processing
