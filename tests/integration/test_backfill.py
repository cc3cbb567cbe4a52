"""Backfill through its public doors: what it finds and queues, how it stops, goes on and is taken back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from embedq_worker.actions import backfill, bulk
from embedq_worker.schema.needs import Category
from tests.support.backfilling import BY, OPTIONS, found, look, queue_all
from tests.support.content import add_articles, queue_tasks, wrong_articles
from tests.support.databases import DIMENSIONS, Connection, Database
from tests.support.piping import Bench
from tests.support.vector_storage import store_as_json, vector_column


@pytest.fixture(params=["vector", "jsonb"])
async def anywhere(request: pytest.FixtureRequest, connection: Connection) -> None:
    """Both ways to store vectors."""
    if request.param == "jsonb":
        await store_as_json(connection)


@pytest.fixture
async def storing_worker(anywhere: None, worker: Bench) -> Bench:
    """A worker of each kind of storage."""
    return worker


async def embeddings_of_another_program(
    connection: Connection, articles: list[int], *, model: str | None = None, age: str = "0"
) -> None:
    await connection.executemany(
        f"""INSERT INTO embeddings (article_id, chunk_id, chunk_index, text_content, model, created_at,
                                    {await vector_column(connection)})
            VALUES ($1, 'x.md#0', 0, 'words', $2, clock_timestamp() - $3::text::interval,
                    '{[0.5] * DIMENSIONS}')""",
        [(article, model, age) for article in articles],
    )


async def some_articles(
    connection: Connection, worker: Bench, count: int, *, slug: str = "article"
) -> list[int]:
    """Articles that are embedded as they should be."""
    articles = await add_articles(connection, [f"Text {number}." for number in range(count)], slug=slug)
    await queue_tasks(connection, articles)
    await worker.work_off()
    return articles


# -- what is found


async def test_what_is_right_is_not_found(connection: Connection, worker: Bench) -> None:
    articles = await add_articles(connection, ["Text.", "", " \n", "---\ntitle: x\n---\n", "# Heading"])
    await queue_tasks(connection, articles)
    await worker.work_off()
    await add_articles(connection, ["", "\n\t "], slug="never embedded and blank")
    await add_articles(connection, ["Text."], slug="not to be embedded", no_rag=True)
    # A task that failed later changes nothing about embeddings that are right.
    await queue_tasks(connection, articles)
    await connection.execute("UPDATE embedding_tasks SET status = 'failed' WHERE status = 'pending'")
    plan = await look(connection)
    assert plan.articles == 8
    assert await found(connection) == {}


async def test_each_kind_of_damage_is_found(connection: Connection, worker: Bench) -> None:
    articles = await some_articles(connection, worker, 9)
    assert await found(connection) == {}
    change = connection.execute
    await change("UPDATE articles SET no_rag = true WHERE id = $1", articles[0])
    # "completed", and the embeddings were deleted
    await change("DELETE FROM embeddings WHERE article_id = $1", articles[1])
    # an article changed without a task
    await change("UPDATE articles SET content = 'Other.' WHERE id = $1", articles[2])
    await change("UPDATE articles SET title = 'Other' WHERE id = $1", articles[3])
    # a chunk too many
    await change(
        f"""INSERT INTO embeddings (article_id, chunk_id, chunk_index, text_content, model,
                                    {await vector_column(connection)})
            VALUES ($1, 'x.md#7', 7, 'old', 'openai/stub', '{[0.5] * DIMENSIONS}')""",
        articles[4],
    )
    # another program embedded it anew
    await change("UPDATE embeddings SET model = NULL WHERE article_id = $1", articles[5])
    await change("UPDATE embeddings SET model = 'openai/other' WHERE article_id = $1", articles[6])
    # changed or excluded, and the task failed, with the counting of another program
    await change("UPDATE articles SET content = 'Other.' WHERE id = $1", articles[7])
    await queue_tasks(connection, [articles[0], articles[7]])
    await change("UPDATE embedding_tasks SET status = 'failed', attempts = 9 WHERE status = 'pending'")
    # the text is gone, its embeddings are not
    await change("UPDATE articles SET content = '' WHERE id = $1", articles[8])

    assert await found(connection) == {"no_rag": 1, "missing": 1, "stale": 4, "model": 2, "failed": 1}


async def test_chunks_without_a_vector_are_none(connection: Connection, storing_worker: Bench) -> None:
    """As after ALTER TABLE embeddings DROP vector and ADD it again, of other dimensions perhaps."""
    _, partly, excluded = await some_articles(connection, storing_worker, 3)
    await connection.execute("UPDATE articles SET content = repeat('Words. ', 2000) WHERE id = $1", partly)
    await queue_tasks(connection, [partly])
    await storing_worker.work_off()
    assert await found(connection) == {}
    await connection.execute("UPDATE articles SET no_rag = true WHERE id = $1", excluded)
    column = await vector_column(connection)
    await connection.execute(
        f"UPDATE embeddings SET {column} = NULL WHERE article_id <> $1 OR chunk_index = 1", partly
    )
    assert await found(connection) == {"missing": 1, "stale": 1, "no_rag": 1}
    await queue_all(connection)
    await storing_worker.work_off()
    assert await found(connection) == {}
    assert await wrong_articles(connection) == []


async def test_embeddings_of_another_program_are_judged_by_their_age(connection: Connection) -> None:
    articles = await add_articles(connection, ["Text."] * 4)
    await embeddings_of_another_program(connection, articles[:1], age="1 hour")
    await embeddings_of_another_program(connection, articles[1:2])
    await embeddings_of_another_program(connection, articles[2:3], model=OPTIONS.model)
    assert await found(connection) == {"stale": 1, "model": 1, "missing": 1}


async def test_what_has_an_open_task_is_waiting(connection: Connection, worker: Bench) -> None:
    articles = await add_articles(connection, ["Text."] * 5)
    await queue_tasks(connection, articles[:2])
    await connection.execute(
        "UPDATE embedding_tasks SET status = 'processing' WHERE article_id = $1", articles[0]
    )
    plan = await look(connection)
    assert (plan.counts[Category.MISSING].to_queue, plan.counts[Category.MISSING].waiting) == (3, 2)
    assert (await queue_all(connection)).queued == 3
    assert await connection.fetchval(
        "SELECT bool_and(t.slug = a.slug) FROM embedding_tasks t JOIN articles a ON a.id = t.article_id"
    )


async def test_only_the_last_task_counts(connection: Connection, worker: Bench) -> None:
    articles = await add_articles(connection, ["Text.", "Text.", ""])
    for status, article in (("failed", 0), ("completed", 0), ("completed", 1), ("failed", 1), ("failed", 2)):
        await queue_tasks(connection, [articles[article]])
        await connection.execute("UPDATE embedding_tasks SET status = $1 WHERE status = 'pending'", status)
    assert await found(connection) == {"missing": 1, "failed": 2}


async def test_a_plan_tells_its_progress_and_about_how_much_it_will_take(connection: Connection) -> None:
    await add_articles(connection, ["word " * 2_000] * 10 + ["word"] * 10)
    seen: list[int] = []
    plan = await backfill.plan(connection, OPTIONS, words_per_chunk=450, page=8, progress=seen.append)
    assert seen == [8, 16, 20]
    count = plan.of(OPTIONS)
    assert 40 <= count.chunks <= 60
    assert backfill.estimate_requests(count, inputs=2048, batch_size=100) == 1
    assert backfill.estimate_requests(count, inputs=1, batch_size=100) == count.chunks
    assert backfill.estimate_requests(count, inputs=2048, batch_size=1) == 20


# -- what is queued


async def test_tasks_and_audit_rows(connection: Connection, worker: Bench) -> None:
    articles = await some_articles(connection, worker, 3)
    await connection.execute("UPDATE articles SET no_rag = true WHERE id = $1", articles[0])
    await connection.execute("UPDATE articles SET content = 'Other.' WHERE id = $1", articles[1])
    (missing,) = await add_articles(connection, ["Text."], slug="missing")

    run = await queue_all(connection)
    assert (run.state, run.resumed, run.queued) == ("done", False, 3)
    tasks = await connection.fetch(
        "SELECT * FROM embedding_tasks WHERE status = 'pending' ORDER BY article_id"
    )
    assert [(task["article_id"], task["operation"]) for task in tasks] == [
        (articles[0], "delete"),
        (articles[1], "update"),
        (missing, "create"),
    ]
    for task in tasks:
        assert (task["priority"], task["attempts"], task["max_attempts"]) == ("low", 0, 4)
        assert json.loads(task["metadata"])["bulkOperationId"] == str(run.operation_id)
        assert task["slug"] is not None
    (audit,) = await connection.fetch("SELECT * FROM embedding_audit_logs WHERE category = 'bulk_operations'")
    assert audit["operation_id"] == str(run.operation_id)
    told = json.loads(audit["metadata"])
    assert (told["operator"], told["host"], told["count"]) == ("ada", "example", 3)
    assert told["filter"]["model"] == OPTIONS.model


async def test_only_what_is_wanted(connection: Connection) -> None:
    articles = await add_articles(connection, ["Text."] * 3)
    await embeddings_of_another_program(connection, articles[:2])
    options = replace(OPTIONS, categories=frozenset({Category.MISSING}), priority="high")
    assert (await look(connection)).of(options).to_queue == 1
    assert (await queue_all(connection, options)).queued == 1
    assert (
        await connection.fetchval("SELECT article_id FROM embedding_tasks WHERE priority = 'high'")
        == articles[2]
    )


async def test_a_table_that_another_program_filled_is_embedded_without_a_gap(
    connection: Connection, storing_worker: Bench
) -> None:
    articles = await add_articles(connection, [f"Text {number}." for number in range(30)])
    await embeddings_of_another_program(connection, articles, age="1 hour")
    await connection.execute("UPDATE articles SET no_rag = true WHERE id = $1", articles[0])
    await queue_all(connection)
    embedded = "SELECT count(DISTINCT article_id) FROM embeddings"
    assert await connection.fetchval(embedded) == 30
    await storing_worker.work(limit=10)
    assert await connection.fetchval(embedded) in (29, 30)
    await storing_worker.work_off()
    assert await wrong_articles(connection) == []
    assert await found(connection) == {}
    assert (await queue_all(connection)).queued == 0


async def test_changing_the_model(database: Database, connection: Connection, worker: Bench) -> None:
    await some_articles(connection, worker, 20)
    assert await found(connection, replace(OPTIONS, model="openai/other")) == {"model": 20}


async def test_tables_without_defaults(connection: Connection) -> None:
    await add_articles(connection, ["Text."])
    await connection.execute(
        """ALTER TABLE embedding_tasks ALTER id DROP DEFAULT, ALTER status DROP DEFAULT,
               ALTER attempts DROP DEFAULT, ALTER created_at DROP DEFAULT, ALTER scheduled_at DROP DEFAULT;
           ALTER TABLE embedding_audit_logs ALTER id DROP DEFAULT, ALTER timestamp DROP DEFAULT"""
    )
    assert (await queue_all(connection)).queued == 1


# -- others write as well


async def test_an_article_that_is_being_deleted_holds_nobody_up(
    database: Database, connection: Connection
) -> None:
    articles = await add_articles(connection, ["Text."] * 5)
    other = await database.connect()
    async with other.transaction():
        await other.execute("DELETE FROM articles WHERE id = $1", articles[2])
        assert (await queue_all(connection)).queued == 4


async def test_no_rag_that_is_being_lifted_is_left_alone(database: Database, connection: Connection) -> None:
    articles = await add_articles(connection, ["Text."] * 2, no_rag=True)
    await embeddings_of_another_program(connection, articles)
    other = await database.connect()
    async with other.transaction():
        await other.execute("UPDATE articles SET no_rag = false WHERE id = $1", articles[0])
        assert (await queue_all(connection)).queued == 1


async def test_no_page_reads_a_whole_table(database: Database, connection: Connection, worker: Bench) -> None:
    await connection.execute(
        """INSERT INTO articles (title, slug, content)
           SELECT 'T', 'bulk-' || n, 'Text ' || n FROM generate_series(1, 3000) AS n;
           INSERT INTO embedding_tasks (article_id, operation, status)
           SELECT id, 'create', 'completed' FROM articles;
           ANALYZE"""
    )
    scans = """SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_xact_user_tables
               WHERE relname IN ('articles', 'embeddings', 'embedding_tasks', 'embedq_articles')"""
    async with connection.transaction():
        before = await connection.fetchval(scans)
        options = replace(OPTIONS, batch_size=500)
        assert (await look(connection, replace(options, folder="x", text="y"), page=500)).articles == 0
        run = await backfill.run(connection, options, by=BY, planned=3000)
        operation = await bulk.status(connection)
        await bulk.rollback(connection, run.operation_id, by=BY)
        assert await connection.fetchval(scans) == before
    assert run.queued == 3000
    assert operation is not None
    assert operation.tasks == {"pending": 3000}
