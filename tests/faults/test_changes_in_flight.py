"""What others do to articles and tasks while the pipeline has them in hand."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from embedq_worker.backoff import Backoff
from tests.support.content import add_articles, queue_tasks, queued_articles, statuses, wrong_articles
from tests.support.databases import Connection, Database
from tests.support.oracle import judge
from tests.support.piping import bench
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("witness")


Meanwhile = Callable[[Connection], Awaitable[object]]


async def disturbed(
    database: Database, connection: Connection, stub: ProviderStub, meanwhile: Meanwhile, *, then: bool = True
) -> list[Counter[str]]:
    """Embed three articles, do something while the request is in flight, and work off what is left.

    Returns:
        Outcomes of the disturbed batch, and of the rest.
    """
    await queued_articles(connection, 3)
    async with bench(database, stub) as it:
        stub.faults.hold = asyncio.Event()
        batch = asyncio.create_task(it.work())
        await until(lambda: stub.seen.in_flight == 1)
        await meanwhile(connection)
        stub.faults.hold.set()
        return [await batch, await it.work_off() if then else Counter()]


def sql(statement: str) -> Meanwhile:
    return lambda connection: connection.execute(statement)


SECOND = "(SELECT max(id) - 1 FROM articles)"


async def test_an_article_edited_meanwhile_is_embedded_again(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    edit = sql(f"UPDATE articles SET content = 'Other words.' WHERE id = {SECOND}")
    assert await disturbed(database, connection, stub, edit) == [{"stored": 2, "changed": 1}, {"stored": 1}]
    assert await judge(connection) == []
    assert await connection.fetchval("SELECT array_agg(attempts) FROM embedding_tasks") == [1, 1, 1]


async def test_the_chunks_of_an_article_renamed_meanwhile_have_its_new_name(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async def names() -> list[str]:
        rows = await connection.fetch("SELECT chunk_id FROM embeddings ORDER BY article_id, chunk_index")
        return [row["chunk_id"] for row in rows]

    rename = sql(f"UPDATE articles SET slug = 'renamed' WHERE id = {SECOND}")
    assert await disturbed(database, connection, stub, rename) == [{"stored": 2, "changed": 1}, {"stored": 1}]
    assert await names() == ["article-0.md#0", "renamed.md#0", "article-2.md#0"]

    sent = stub.seen.inputs
    await queue_tasks(connection, [await connection.fetchval(f"SELECT {SECOND}")], operation="update")
    await connection.execute("UPDATE articles SET slug = 'later' WHERE slug = 'renamed'")
    async with bench(database, stub) as it:
        assert await it.work() == {"stored": 1}
    assert await names() == ["article-0.md#0", "later.md#0", "article-2.md#0"]
    assert stub.seen.inputs == sent


async def test_an_article_edited_and_queued_meanwhile_is_embedded_again_once(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async def edit(connection: Connection) -> None:
        await connection.execute(f"UPDATE articles SET content = 'Other words.' WHERE id = {SECOND}")
        await queue_tasks(connection, [await connection.fetchval(f"SELECT {SECOND}")], operation="update")

    assert await disturbed(database, connection, stub, edit) == [
        {"stored": 2, "changed": 1},
        {"stored": 1, "coalesced": 1},
    ]
    assert await judge(connection) == []
    assert await statuses(connection) == {"completed": 4}
    assert stub.seen.inputs == 4


@pytest.mark.parametrize(
    ("change", "then"), [("content = 'Other words.'", "stored"), ("no_rag = true", "skipped")]
)
async def test_a_text_that_is_refused_when_it_is_not_the_articles_any_more_is_no_failure(
    database: Database, connection: Connection, stub: ProviderStub, change: str, then: str
) -> None:
    stub.faults.poison = "number 1"
    edit = sql(f"UPDATE articles SET {change} WHERE id = {SECOND}")
    assert await disturbed(database, connection, stub, edit) == [{"stored": 2, "changed": 1}, {then: 1}]
    assert await judge(connection) == []
    assert await connection.fetchval("SELECT array_agg(attempts) FROM embedding_tasks") == [1, 1, 1]


async def test_an_article_deleted_meanwhile_leaves_nothing(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    delete = sql(f"DELETE FROM articles WHERE id = {SECOND}")
    assert await disturbed(database, connection, stub, delete) == [{"stored": 2, "lost": 1}, {}]
    assert await judge(connection) == []
    assert await connection.fetchval("SELECT count(DISTINCT article_id) FROM embeddings") == 2


async def test_an_article_taken_out_of_the_search_meanwhile_gets_no_embeddings(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    take_out = sql(f"UPDATE articles SET no_rag = true WHERE id = {SECOND}")
    assert await disturbed(database, connection, stub, take_out) == [{"stored": 2, "skipped": 1}, {}]
    assert await judge(connection) == []


async def test_an_article_put_back_into_the_search_meanwhile_is_embedded(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    (article,) = await add_articles(connection, ["Text."], no_rag=True)
    await queue_tasks(connection, [article])
    async with bench(database, stub) as it:
        tasks = await it.pipeline.claim(10)
        await connection.execute("UPDATE articles SET no_rag = false")
        assert (await it.pipeline.run(tasks)).outcomes == {"changed": 1}
        assert await it.work_off() == {"stored": 1}
    assert await judge(connection) == []


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("UPDATE embedding_tasks SET status = 'pending', processed_at = NULL WHERE status = 'processing'", 3),
        (
            """UPDATE embedding_tasks SET status = 'failed', error_message = 'Cancelled by administrator'
               WHERE status = 'processing'""",
            0,
        ),
        ("UPDATE embedding_tasks SET status = 'completed' WHERE status = 'processing'", 0),
        ("DELETE FROM embedding_tasks", 0),
        ("TRUNCATE embedding_tasks", 0),
        ("UPDATE embedding_tasks SET processed_at = now()", 0),
    ],
)
async def test_what_an_operator_types_beats_what_is_in_flight(
    database: Database, connection: Connection, stub: ProviderStub, statement: str, left: int
) -> None:
    outcomes = await disturbed(database, connection, stub, sql(statement), then=False)
    assert outcomes == [{"lost": 3}, {}]
    assert await connection.fetchval("SELECT count(*) FROM embeddings") == 0
    assert (await statuses(connection)).get("pending", 0) == left


async def test_a_task_taken_over_by_another_program_is_not_ours_any_more(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    take_over = sql(
        """UPDATE embedding_tasks SET status = 'pending', processed_at = NULL;
           UPDATE embedding_tasks SET status = 'processing', processed_at = now(), attempts = attempts + 1"""
    )
    assert await disturbed(database, connection, stub, take_over, then=False) == [{"lost": 3}, {}]
    assert await statuses(connection) == {"processing": 3}
    assert await connection.fetchval("SELECT count(*) FROM embeddings") == 0


async def test_an_article_that_somebody_keeps_locked_is_given_back_and_the_others_are_stored(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    locked = await database.connect()
    await locked.execute("BEGIN")
    try:
        await queued_articles(connection, 3)
        await locked.execute("SELECT FROM articles WHERE id = 2 FOR UPDATE")
        async with bench(database, stub) as it:
            async with asyncio.timeout(30):  # half of the patience with a database that refuses
                assert await it.work() == {"stored": 2, "requeued": 1}
            assert await connection.fetchval(  # the next try costs another request
                "SELECT scheduled_at > now() + interval '10 s' FROM embedding_tasks WHERE status = 'pending'"
            )
            await locked.execute("UPDATE articles SET content = 'Other words.' WHERE id = 2; COMMIT")
            assert await it.work_off() == {"stored": 1}
    finally:
        await locked.close()
    assert await judge(connection) == []


async def test_embeddings_removed_meanwhile_are_computed_again(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await queued_articles(connection, 2)
    async with bench(database, stub) as it:
        await it.work()
        await queue_tasks(connection, articles)
        tasks = await it.pipeline.claim(10)
        await connection.execute("DELETE FROM embeddings WHERE article_id = $1", articles[0])
        assert (await it.pipeline.run(tasks)).outcomes == {"stored": 1, "changed": 1}
        assert await it.work_off() == {"stored": 1}
    assert await judge(connection) == []


async def test_other_tasks_of_an_article_are_done_with_the_first(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await queued_articles(connection, 2)
    for _ in range(3):
        await queue_tasks(connection, articles, operation="update")
    async with bench(database, stub) as it:
        assert await it.work() == {"stored": 2, "coalesced": 6}
    assert await statuses(connection) == {"completed": 8}
    assert stub.seen.inputs == 2


async def test_a_vector_that_the_database_refuses_fails_its_task_alone(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await queued_articles(connection, 5)
    await connection.execute(
        f"ALTER TABLE embeddings ADD CONSTRAINT refused CHECK (article_id <> {articles[2]})"
    )
    async with bench(database, stub, backoff=Backoff(100.0, 1000.0)) as it:
        assert await it.work() == {"stored": 4, "requeued": 1}
        left = "SELECT scheduled_at > now() + interval '30 s' FROM embedding_tasks WHERE status = 'pending'"
        assert await connection.fetchval(left)
        assert await it.work_off() == {"requeued": 1, "failed": 1}
    assert await wrong_articles(connection) == [articles[2]]


async def test_a_task_that_was_in_the_hands_of_a_dead_worker_comes_alone(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await queued_articles(connection, 10)
    suspects = [articles[5], articles[7]]
    await connection.execute(
        "UPDATE embedding_tasks SET crash_count = 1 WHERE article_id = ANY ($1)", suspects
    )
    async with bench(database, stub) as it:
        sizes = []
        while tasks := await it.pipeline.claim(5):
            sizes.append(len(tasks))
            assert len(tasks) == 1 or not any(task.article_id in suspects for task in tasks)
            await it.pipeline.run(tasks)
    assert sum(sizes) == 10
    assert await judge(connection) == []
