"""What `health` takes for a stall: tasks are in progress, nothing ends, and there is no known reason."""

from __future__ import annotations

from embedq_worker.insights.issues import Code
from tests.commands.actors import start_worker
from tests.support.content import queued_articles
from tests.support.databases import Connection, Database
from tests.support.health_world import claim, codes, end, look

FOR_A_DAY = "UPDATE embedq_workers SET started_at = now() - interval '1 day'"


async def in_hand(
    connection: Connection, tasks: int, ago: str = "15 minutes", *, silent: str = "0 s"
) -> None:
    """Tasks claimed a while ago, with a worker that has been running for a day."""
    await start_worker(connection, silent=silent)
    await connection.execute(FOR_A_DAY)
    await queued_articles(connection, tasks)
    await claim(connection, ago)


async def test_a_stall(connection: Connection, database: Database) -> None:
    await in_hand(connection, 3)
    await connection.execute(  # by a program, or in psql, that does not say when
        "INSERT INTO embedding_tasks (operation, status) VALUES ('update', 'failed'), ('update', 'completed')"
    )
    assert await codes(connection, database) == {Code.STALLED}
    assert await codes(connection, database, health_stall_s=1_000) == set()
    for status in ("completed", "failed"):
        await end(connection, status, 1, "12 minutes")
        assert await codes(connection, database) == {Code.STALLED}
        await end(connection, status, 1, "2 minutes")
        assert await codes(connection, database) == set()
        await connection.execute("DELETE FROM embedding_tasks WHERE status = $1", status)


async def test_ends_from_before_a_clock_was_set_back_hide_no_stall(
    connection: Connection, database: Database
) -> None:
    await in_hand(connection, 3)
    for status in ("completed", "failed"):
        await end(connection, status, 1, "-5 hours")
    await start_worker(connection)
    await connection.execute("UPDATE embedq_workers SET started_at = now() + interval '5 hours'")
    assert await codes(connection, database) == {Code.STALLED}


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


async def test_claims_made_just_now_are_no_stall_however_long_their_tasks_waited(
    connection: Connection, database: Database
) -> None:
    await in_hand(connection, 1, "10 seconds")  # the workers were resumed
    await connection.execute("UPDATE embedding_tasks SET scheduled_at = now() - interval '1 hour'")
    assert await codes(connection, database) == set()
    await connection.execute("UPDATE embedding_tasks SET processed_at = now() - interval '2 minutes'")
    assert await codes(connection, database) == {Code.STALLED}


async def test_tasks_that_wait_behind_those_in_progress_tell_since_when_there_was_work(
    connection: Connection, database: Database
) -> None:
    await start_worker(connection)
    await connection.execute(FOR_A_DAY)
    await queued_articles(connection, 1, priority="high")
    await claim(connection, "2 minutes")
    await queued_articles(connection, 1, slug="more")
    assert await codes(connection, database) == set()
    await connection.execute(
        "UPDATE embedding_tasks SET scheduled_at = now() - interval '1 hour' WHERE status = 'pending'"
    )
    assert await codes(connection, database) == {Code.OLDEST_PENDING, Code.STALLED}


async def test_a_worker_that_starts_again_and_again_hides_no_stall_of_another(
    connection: Connection, database: Database
) -> None:
    await in_hand(connection, 1)
    await start_worker(connection)
    assert await codes(connection, database) == {Code.STALLED}
    await queued_articles(connection, 1, slug="more")
    await connection.execute(
        "UPDATE embedding_tasks SET status = 'processing', processed_at = now() WHERE status = 'pending'"
    )
    assert await codes(connection, database) == {Code.STALLED}


async def test_where_no_worker_lives_that_is_all_that_is_told(
    connection: Connection, database: Database
) -> None:
    await in_hand(connection, 1, silent="60 s")
    assert await codes(connection, database) == {Code.NO_WORKER}
    await start_worker(connection)  # which has had no time to end anything
    assert await codes(connection, database) == set()


async def test_a_stall_of_another_programs_worker(connection: Connection, database: Database) -> None:
    await queued_articles(connection, 1)
    await claim(connection, "15 minutes")
    for began, found in (("2 minutes", set()), ("1 day", {Code.STALLED})):
        await connection.execute(
            """UPDATE embedding_worker_status SET is_running = true, last_heartbeat = now(),
                                                  started_at = now() - $1::text::interval""",
            began,
        )
        assert await codes(connection, database) == found
    await connection.execute(  # by a program that does not say when it claims
        "UPDATE embedding_tasks SET created_at = processed_at, processed_at = NULL"
    )
    assert await codes(connection, database) == {Code.STALLED}


async def test_held_by_the_provider_is_no_stall(connection: Connection, database: Database) -> None:
    await in_hand(connection, 3)
    await connection.execute(
        "SELECT * FROM embedq_provider_failed('m e', 'unavailable', 'down', '', NULL, 1)"
    )
    assert await codes(connection, database) == {Code.PROVIDER_OPEN}


async def test_a_provider_that_nobody_uses_any_more_explains_nothing(
    connection: Connection, database: Database
) -> None:
    await in_hand(connection, 3)
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


async def test_a_provider_that_asks_for_patience_explains_no_stall(
    connection: Connection, database: Database
) -> None:
    await in_hand(connection, 1)
    await connection.execute(
        "SELECT * FROM embedq_provider_failed('m e', 'rate_limited', 'too many', '', 60000, 5)"
    )
    assert await codes(connection, database) == {Code.STALLED}
