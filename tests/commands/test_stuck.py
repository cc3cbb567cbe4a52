"""`embedq-tui stuck`: which claims nobody will finish, and why."""

from __future__ import annotations

from uuid import UUID, uuid4

from embedq_worker.errors import ExitCode
from tests.commands.actors import start_worker
from tests.commands.running import Tui
from tests.support.content import queued_articles
from tests.support.databases import Connection


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
    text = (await tui("stuck")).out
    assert all(task in text for task in expected)


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
