"""`embedq-tui stuck`: which claims nobody will finish, and why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from embedq_worker.actions.tasks import RELEASE, Run, carry_out, plan
from embedq_worker.errors import ExitCode
from embedq_worker.insights.stuck import stuck, stuck_by
from embedq_worker.insights.tasks import list_tasks
from embedq_worker.queue.wanted import Stuck, TaskFilter
from tests.commands.actors import start_worker
from tests.commands.running import Tui
from tests.support.content import queued_articles
from tests.support.databases import Connection, Database


async def claim(connection: Connection, article: int, worker: UUID | None, *, age: str = "0 s") -> str:
    """Put an article's task into a worker's hands; None: another program's."""
    return str(
        await connection.fetchval(
            """UPDATE embedding_tasks
               SET status = 'processing', processed_at = now() - $3::text::interval, worker_id = $2::uuid,
                   claimed_at = CASE WHEN $2::uuid IS NOT NULL THEN now() - $3::text::interval END
               WHERE article_id = $1 RETURNING id""",
            article,
            worker,
            age,
        )
    )


async def test_nothing_is_stuck(tui: Tui, connection: Connection) -> None:
    [article] = await queued_articles(connection, 1)
    await claim(connection, article, await start_worker(connection), age="5 min")
    assert (await tui("stuck")).code == ExitCode.OK
    document = (await tui("stuck", "--json")).document("stuck")
    assert (document["total"], document["tasks"]) == (0, [])


async def test_each_reason(tui: Tui, connection: Connection) -> None:
    articles = await queued_articles(connection, 6)
    alive = await start_worker(connection)
    silent = await start_worker(connection, silent="60 s")
    ended = await start_worker(connection)
    await connection.execute("SELECT embedq_worker_stop($1, 'done')", ended)
    expected = {
        await claim(connection, articles[0], None, age="2 h"): ("too old", None, None),
        await claim(connection, articles[1], alive, age="31 min"): ("too old", "build-7/4711", "alive"),
        await claim(connection, articles[2], silent, age="20 min"): (
            "worker silent",
            "build-7/4711",
            "silent",
        ),
        await claim(connection, articles[3], ended, age="10 min"): ("worker gone", "build-7/4711", "gone"),
        await claim(connection, articles[4], uuid4(), age="5 min"): ("worker gone", None, "gone"),
    }
    await claim(connection, articles[5], None, age="29 min")
    document = (await tui("stuck", "--json")).document("stuck")
    found = {t["id"]: (t["reason"], t["worker_place"], t["liveness"]) for t in document["tasks"]}
    assert found == expected
    assert [task["slug"] for task in document["tasks"]] == [f"article-{number}" for number in range(5)]
    assert document["tasks"][0]["claim_age_s"] >= 7200
    held = [(one["worker_place"], one["liveness"], one["tasks"]) for one in document["workers"]]
    place = "build-7/4711"
    assert sorted(held, key=str) == [
        (place, "alive", 1),
        (place, "gone", 1),
        (place, "silent", 1),
        (None, "gone", 1),
        (None, None, 1),
    ]
    text = (await tui("stuck")).out
    assert all(task in text for task in expected)


async def test_an_action_reaches_what_is_listed_and_nothing_else(
    connection: Connection, database: Database
) -> None:
    articles = await queued_articles(connection, 60)
    alive, silent = await start_worker(connection), await start_worker(connection, silent="60 s")
    stopping, ended = await start_worker(connection), await start_worker(connection)
    await connection.execute("UPDATE embedq_workers SET state = 'stopping' WHERE id = $1", stopping)
    await connection.execute("SELECT embedq_worker_stop($1, 'done')", ended)
    holders = [alive, silent, stopping, ended, uuid4(), None]
    for number, article in enumerate(articles):
        await claim(connection, article, holders[number % 6], age=f"{number} min")
    for status in ("pending", "completed"):  # which nobody holds
        await connection.execute(
            """INSERT INTO embedding_tasks (operation, status, processed_at)
               VALUES ('update', $1, now() - interval '5 hours')""",
            status,
        )
    await connection.execute("UPDATE embedding_tasks SET processed_at = NULL WHERE article_id % 7 = 0")
    await connection.execute("UPDATE embedding_tasks SET created_at = now() - interval '1 h'")
    for by in (stuck_by(database.settings), Stuck(600, 45), Stuck(10_000, 90)):
        listed = await stuck(connection, database.settings, limit=100, by=by)
        held = [one.tasks for one in listed.workers]
        assert len(listed.tasks) == listed.total == sum(held)
        assert held == sorted(held, reverse=True)
        shown = await list_tasks(connection, TaskFilter(stuck=by), limit=100)
        assert {task.id for task in shown.tasks} == {task.id for task in listed.tasks}
        assert (await list_tasks(connection, TaskFilter(stuck=by), direction="next")).tasks == ()
        planned = await plan(connection, RELEASE, TaskFilter(stuck=by))
        assert 0 < planned.matched == listed.total < 60
        async with undone(connection):
            outcome = await carry_out(Run(connection, planned, "ann@ops", batch_size=7))
            assert set(outcome.ids) == {task.id for task in listed.tasks}
    ids = tuple(task.id for task in listed.tasks)
    await connection.execute("UPDATE embedq_workers SET heartbeat_at = clock_timestamp()")
    beating = await plan(connection, RELEASE, TaskFilter(ids=ids, stuck=by))
    living = (alive, silent, stopping)
    assert beating.matched == sum(task.worker not in living for task in listed.tasks)


@asynccontextmanager
async def undone(connection: Connection) -> AsyncIterator[None]:
    """Nothing that is done in the block stays."""
    transaction = connection.transaction()
    await transaction.start()
    yield
    await transaction.rollback()


async def test_a_claim_another_program_took_over_is_not_ours(tui: Tui, connection: Connection) -> None:
    [article] = await queued_articles(connection, 1)
    await claim(connection, article, uuid4(), age="5 min")
    await connection.execute("UPDATE embedding_tasks SET processed_at = now()")
    assert (await tui("stuck", "--json")).document("stuck")["total"] == 0
    strict = await tui(
        "stuck",
        "--json",
        EMBEDDING_QUEUE_MAX_PROCESSING_TIME=1000,
        EMBEDDING_WORKER_TIMEOUT=1000,
    )
    assert strict.document("stuck")["older_than_s"] == 1


async def test_a_limit_keeps_the_total(tui: Tui, connection: Connection) -> None:
    for number, article in enumerate(await queued_articles(connection, 4)):
        await claim(connection, article, None, age=f"{number + 1} h")
    document = (await tui("stuck", "--json", "--limit", "2")).document("stuck")
    assert document["total"] == 4
    assert [task["slug"] for task in document["tasks"]] == ["article-3", "article-2"]


async def test_a_task_of_an_article_that_is_gone_is_listed(tui: Tui, connection: Connection) -> None:
    await connection.execute(
        """INSERT INTO embedding_tasks (slug, operation, status, processed_at)
           VALUES ('gone', 'delete', 'processing', now() - interval '1 hour')"""
    )
    found = (await tui("stuck", "--json")).document("stuck")
    assert [(task["article_id"], task["slug"]) for task in found["tasks"]] == [(None, "gone")]
