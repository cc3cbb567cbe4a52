"""`embedq-tui status` as scripts and operators read it."""

from __future__ import annotations

import re

import pytest

from embedq_worker.errors import ExitCode
from embedq_worker.schema import migrations
from tests.commands.actors import let_hold, start_worker
from tests.commands.running import Tui
from tests.support.content import add_articles, queue_tasks, queued_articles
from tests.support.databases import Connection, Database


async def test_the_first_six_lines_are_the_contract(tui: Tui, connection: Connection) -> None:
    articles = await queued_articles(connection, 5)
    await connection.execute(
        "UPDATE embedding_tasks SET status = 'completed', completed_at = now() WHERE article_id = $1",
        articles[0],
    )
    await connection.execute(
        "UPDATE embedding_tasks SET status = 'failed', completed_at = now() WHERE article_id = $1",
        articles[1],
    )
    answer = await tui("status")
    assert answer.code == ExitCode.OK
    assert answer.out.splitlines()[:6] == [
        "Worker Status: Stopped",
        "Queue Statistics:",
        "Pending: 3",
        "Processing: 0",
        "Completed: 1",
        "Failed: 1",
    ]
    await start_worker(connection)
    assert (await tui("status")).out.startswith("Worker Status: Running\n")


async def test_the_document(tui: Tui, connection: Connection, database: Database) -> None:
    worker = await start_worker(connection)
    articles = await add_articles(connection, ["a", "b", "c"])
    await queue_tasks(connection, articles[:2])
    await queue_tasks(connection, articles[2:], priority="high")
    await connection.execute(
        "UPDATE embedding_tasks SET status = 'completed', completed_at = now() WHERE article_id = $1",
        articles[0],
    )
    await connection.execute(
        "SELECT * FROM embedq_provider_failed('m e', 'unavailable', 'down', 'start it', NULL, 1)"
    )
    document = (await tui("status", "--json")).document("status")
    assert document["worker"]["running"] is True
    assert [row["id"] for row in document["worker"]["workers"]] == [str(worker)]
    assert document["worker"]["workers"][0]["settings"] == {"batch_size": 5}
    queue = document["queue"]
    assert (queue["pending"], queue["completed"], queue["total"]) == (2, 1, 3)
    assert queue["by_priority"]["high"] == {"pending": 1, "processing": 0, "completed": 0, "failed": 0}
    assert queue["oldest_pending_at"] is not None
    assert queue["oldest_due_at"] is not None
    assert queue["last_completed_at"] is not None
    assert [(row["key"], row["state"]) for row in document["providers"]] == [("m e", "open")]
    assert database.url.rpartition("/")[2] in document["database"]


async def test_a_provider_that_was_given_up_is_told_of_only_while_no_worker_uses_another(
    tui: Tui, connection: Connection
) -> None:
    for key in ("given up", "m e"):
        await connection.execute(
            "SELECT * FROM embedq_provider_failed($1, 'unavailable', 'down', '', NULL, 1)", key
        )

    async def told() -> list[str]:
        return [row["key"] for row in (await tui("status", "--json")).document("status")["providers"]]

    assert await told() == ["given up", "m e"]
    await start_worker(connection)
    assert await told() == ["m e"]
    await connection.execute("SELECT embedq_provider_works('m e')")
    assert await told() == ["m e"]
    assert "given up" not in (await tui("metrics", "--prometheus")).out


async def test_a_task_that_is_not_due_does_not_wait(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 2)
    await connection.execute("UPDATE embedding_tasks SET scheduled_at = now() + interval '1 hour'")
    queue = (await tui("status", "--json")).document("status")["queue"]
    assert queue["oldest_due_at"] is None
    assert queue["next_due_at"] is not None
    assert queue["oldest_pending_at"] is not None


@pytest.mark.parametrize("silent", ["60 s", pytest.param("-60 s", id="a clock was set back")])
async def test_a_silent_worker_is_not_running(tui: Tui, connection: Connection, silent: str) -> None:
    await start_worker(connection, silent=silent)
    document = (await tui("status", "--json")).document("status")
    assert document["worker"]["running"] is False
    assert document["worker"]["workers"][0]["liveness"] == "silent"
    patient = await tui("status", "--json", EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=60_000)
    assert patient.document("status")["worker"]["running"] is True


@pytest.mark.parametrize(("silent", "liveness"), [("0 s", "alive"), ("1 min", "silent")])
async def test_what_a_worker_claimed_or_gave_back_after_its_last_heartbeat_counts(
    tui: Tui, connection: Connection, silent: str, liveness: str
) -> None:
    worker = await start_worker(connection, silent=silent)
    await connection.execute("UPDATE embedq_workers SET in_hand = 20")
    [idle] = (await tui("status", "--json")).document("status")["worker"]["workers"]
    assert (idle["liveness"], idle["in_hand"]) == (liveness, 0)
    await queued_articles(connection, 3)
    await let_hold(connection, worker)
    await queued_articles(connection, 1, slug="waits")
    [busy] = (await tui("status", "--json")).document("status")["worker"]["workers"]
    assert busy["in_hand"] == 3
    await connection.execute(  # another program took one over
        "UPDATE embedding_tasks SET processed_at = now() + interval '1 s' WHERE slug = 'article-0'"
    )
    [busy] = (await tui("status", "--json")).document("status")["worker"]["workers"]
    assert busy["in_hand"] == 2


async def test_a_worker_that_died_is_told_of_until_all_it_held_is_safe(
    tui: Tui, connection: Connection
) -> None:
    worker = await start_worker(connection, silent="1 h")
    await queued_articles(connection, 3)
    await let_hold(connection, worker)
    assert (await tui("status", "--json")).document("status")["worker"]["dead"] == []
    for left in (2, 0):
        await connection.execute("SELECT * FROM embedq_rescue(45000, 1800000, $1)", left or 9)
        left = await connection.fetchval("SELECT count(*) FROM embedding_tasks WHERE worker_id IS NOT NULL")
        (dead,) = (await tui("status", "--json")).document("status")["worker"]["dead"]
        assert (dead["id"], dead["host"], dead["unreturned"]) == (str(worker), "build-7", left)
        text = (await tui("status")).out
        assert "build-7/4711" in text
        assert ("reset-stuck" in text) is bool(left)
    assert (await tui("monitor", "--once", "--json")).document("monitor")["workers"]["dead"] == 1
    assert "build-7/4711" in (await tui("monitor", "--once")).out


@pytest.mark.parametrize(("order", "running"), [("stop", False), ("pause", True)])
async def test_orders_in_force(tui: Tui, connection: Connection, order: str, running: bool) -> None:
    await start_worker(connection)
    await connection.execute("SELECT embedq_command($1, 'ann@ops')", order)
    answer = await tui("status", "--json")
    worker = answer.document("status")["worker"]
    assert worker["running"] is running
    assert (worker["stopped_by"] or worker["paused_by"]) == "ann@ops"
    assert "ann@ops" in (await tui("status")).out


async def test_another_programs_worker_counts(tui: Tui, connection: Connection) -> None:
    await connection.execute(
        """UPDATE embedding_worker_status
           SET is_running = true, last_heartbeat = now(), started_at = now(), tasks_processed = 7"""
    )
    worker = (await tui("status", "--json")).document("status")["worker"]
    assert worker["running"] is True
    assert worker["workers"] == []
    assert worker["fleet"]["tasks_processed"] == 7
    await connection.execute(
        "UPDATE embedding_worker_status SET is_running = false, last_heartbeat = clock_timestamp()"
    )
    assert (await tui("status", "--json")).document("status")["worker"]["running"] is False


async def test_an_operators_stop_in_sql_is_seen(tui: Tui, connection: Connection) -> None:
    await start_worker(connection)
    await connection.execute("UPDATE embedding_worker_status SET is_running = false")
    worker = (await tui("status", "--json")).document("status")["worker"]
    assert worker["running"] is False
    assert worker["stopped_at"] is not None


async def test_before_the_migration_the_public_tables_are_counted(
    bare_tui: Tui, empty_database: Database
) -> None:
    await migrations.up(empty_database.settings, target=2)
    connection = await empty_database.connect()
    await queued_articles(connection, 4)
    await connection.execute(
        "INSERT INTO embedding_worker_status (id, is_running, last_heartbeat) VALUES (1, true, now())"
    )
    await connection.close()
    document = (await bare_tui("status", "--json")).document("status")
    assert document["migrated"] is False
    assert document["queue"]["pending"] == document["queue"]["total"] == 4
    assert document["worker"]["running"] is True
    answer = await bare_tui("status")
    assert "Pending: 4" in answer.out.splitlines()
    assert "--migrate" in answer.out


async def test_a_database_without_a_queue(bare_tui: Tui) -> None:
    answer = await bare_tui("status")
    assert answer.code == ExitCode.NO
    assert answer.out == ""
    assert len(answer.complaint) == 2
    assert "--migrate" in answer.err


async def test_a_worker_with_limits_says_what_it_serves(tui: Tui, connection: Connection) -> None:
    await start_worker(connection)
    await connection.execute(
        """UPDATE embedq_workers SET settings = '{"priorities": ["high"], "folders": ["docs", "handbook"]}'"""
    )
    answer = await tui("status")
    assert "high" in answer.out
    assert "docs, handbook" in answer.out


async def test_text_of_others_commands_no_terminal(tui: Tui, connection: Connection) -> None:
    await start_worker(connection)
    await connection.execute("UPDATE embedq_workers SET note = E'\\x1b]52;c;aGk=\\x07 \\u202e [/red]'")
    await connection.execute("UPDATE embedq_workers SET settings = $1::jsonb", '{"folders": ["\\u009b2J"]}')
    await connection.execute("SELECT embedq_command('stop', E'ann\\x1b[2J')")
    answer = await tui("status")
    assert "[/red]" in answer.out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", answer.out)
