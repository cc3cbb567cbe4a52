"""The opt-in trigger on `articles`: every save is queued, and no save suffers from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from time import monotonic
from typing import Any

import pytest

from embedq_worker.actions import article_trigger
from embedq_worker.actions.backfill import BackfillOptions, plan, run
from embedq_worker.content.articles import ImportOptions, store_articles
from embedq_worker.content.reference_corpus import python_topics
from embedq_worker.insights.health import health
from embedq_worker.insights.issues import Code
from embedq_worker.schema.needs import Category
from tests.commands.actors import embed
from tests.support.content import add_articles, queued, statuses, store_chunk, wrong_articles
from tests.support.databases import Connection, Database, Server
from tests.support.piping import bench
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until


@pytest.fixture
async def editor(database: Database, connection: Connection) -> AsyncIterator[Connection]:
    """The article program's connection, the trigger being installed."""
    await article_trigger.install(connection, max_attempts=5)
    opened = await database.connect()
    yield opened
    await opened.close()


# -- what is queued


async def test_a_new_article(connection: Connection, editor: Connection) -> None:
    (article,) = await add_articles(editor, ["text"])
    (task,) = await connection.fetch("SELECT * FROM embedding_tasks")
    assert (task["article_id"], task["slug"]) == (article, "article-0")
    assert (task["operation"], task["status"], task["priority"]) == ("create", "pending", "normal")
    assert (task["attempts"], task["max_attempts"]) == (0, 5)


async def test_many_at_once(connection: Connection, editor: Connection) -> None:
    await editor.copy_records_to_table(
        "articles", records=[("T", f"copied-{number}", "text") for number in range(500)],
        columns=["title", "slug", "content"],
    )  # fmt: skip
    assert len(await queued(connection)) == 500
    await editor.execute("UPDATE articles SET content = content || '!' WHERE slug = 'copied-7'")
    assert await queued(connection) == [("copied-7", "update")]
    await editor.execute(
        """INSERT INTO articles (title, slug, content)
           VALUES ('T', 'copied-1', 'other'), ('T', 'new', 'text'), ('T', 'copied-2', 'text')
           ON CONFLICT (slug) DO UPDATE SET content = EXCLUDED.content"""
    )
    assert await queued(connection) == [("copied-1", "update"), ("new", "create")]


async def test_saving_all_after_saving_one_does_not_compare_each_with_all(
    connection: Connection, editor: Connection
) -> None:
    await connection.execute(
        """SET embedq.no_trigger = 'on';
           INSERT INTO articles (title, slug, content)
           SELECT 'T', 'many-' || n, 'text' FROM generate_series(1, 12000) AS n"""
    )
    await editor.execute("UPDATE articles SET content = 'other' WHERE slug = 'many-1'")
    await editor.execute("SET statement_timeout = '5s'")  # comparing each with all takes twice as long
    await editor.execute("UPDATE articles SET folder = 'elsewhere'")
    assert await queued(connection) == [("many-1", "update")]


@pytest.mark.parametrize(
    ("change", "operations"),
    [
        ("content = 'other'", ["update"]),
        ("title = 'other'", ["update"]),
        ("slug = 'other'", ["update"]),
        ("content = content, title = title, updated_at = now()", []),
        ("folder = 'x', is_public = true, updated_by = 'y'", []),
        ("no_rag = NULL", []),
        ("no_rag = true", ["delete"]),
        ("no_rag = true, content = 'other'", ["delete"]),
    ],
)
async def test_a_change(
    connection: Connection, editor: Connection, change: str, operations: list[str]
) -> None:
    await store_chunk(connection, *await add_articles(editor, ["text"]))
    await queued(connection)
    await editor.execute(f"UPDATE articles SET {change}")
    assert [operation for _, operation in await queued(connection)] == operations


@pytest.mark.parametrize("wanted", ["false", "NULL"])
async def test_no_rag_articles_are_not_embedded_and_come_back(
    connection: Connection, editor: Connection, wanted: str
) -> None:
    await add_articles(editor, ["text"], no_rag=True)
    await editor.execute("UPDATE articles SET content = 'other'")
    assert await queued(connection) == []
    await editor.execute(f"UPDATE articles SET no_rag = {wanted}")
    assert await queued(connection) == [("article-0", "update")]
    await editor.execute("UPDATE articles SET no_rag = true")
    assert await queued(connection) == []  # it has no embeddings


async def test_a_change_that_comes_by_cascade(connection: Connection, editor: Connection) -> None:
    await connection.execute(
        """CREATE TABLE pages (slug varchar(255) PRIMARY KEY);
           INSERT INTO pages VALUES ('article-0');
           ALTER TABLE articles ADD FOREIGN KEY (slug) REFERENCES pages ON UPDATE CASCADE ON DELETE CASCADE"""
    )
    await add_articles(editor, ["text"])
    await queued(connection)
    await editor.execute("UPDATE pages SET slug = 'renamed'")
    assert await queued(connection) == [("renamed", "update")]
    await editor.execute("DELETE FROM pages")
    assert await queued(connection) == [("renamed", "delete")]


async def test_a_deletion_is_queued_and_completed(
    database: Database, connection: Connection, editor: Connection, stub: ProviderStub
) -> None:
    await add_articles(editor, ["one", "two"])
    async with bench(database, stub) as it:
        await it.work_off()
        await editor.execute("DELETE FROM articles WHERE slug = 'article-0'")
        (task,) = await connection.fetch("SELECT * FROM embedding_tasks WHERE status = 'pending'")
        assert (task["article_id"], task["slug"], task["operation"]) == (None, "article-0", "delete")
        assert await it.work_off() == {"gone": 1}
    assert await statuses(connection) == {"completed": 2}
    assert await wrong_articles(connection) == []


async def test_truncating_articles_leaves_nothing_to_do(connection: Connection, editor: Connection) -> None:
    await add_articles(editor, ["one", "two"])
    await editor.execute("TRUNCATE articles CASCADE")
    assert await queued(connection) == []


async def test_an_import_queues_by_itself(connection: Connection, editor: Connection) -> None:
    options = ImportOptions("me@here", 3, priority="high")
    async for _ in store_articles(editor, python_topics()[:5], options):
        pass
    await add_articles(editor, ["text"])
    rows = await connection.fetch("SELECT priority, count(*) FROM embedding_tasks GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in rows] == [("high", 5), ("normal", 1)]


# -- one task is enough, as long as it is certain that it will see the text


async def test_saving_again_and_again_is_one_task(connection: Connection, editor: Connection) -> None:
    await add_articles(editor, ["text"])
    for number in range(5):
        await editor.execute("UPDATE articles SET content = $1", f"text {number}")
    assert await statuses(connection) == {"pending": 1}


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_under_stricter_isolation_every_save_is_queued(
    connection: Connection, editor: Connection, isolation: Any
) -> None:
    (article,) = await add_articles(editor, ["text"])
    async with editor.transaction(isolation=isolation):
        await editor.execute("SELECT count(*) FROM embedding_tasks")  # its snapshot shows the task as pending
        await connection.execute("UPDATE embedding_tasks SET status = 'completed'")
        await editor.execute("UPDATE articles SET content = 'other'")
    assert await queued(connection) == [("article-0", "update")]
    async with editor.transaction(isolation=isolation):
        await editor.execute("SELECT FROM embeddings")  # its snapshot shows none
        await store_chunk(connection, article)
        await editor.execute("UPDATE articles SET content = 'third', no_rag = true")
    assert await queued(connection) == [("article-0", "delete")]


async def test_a_task_that_a_save_counts_on_cannot_be_claimed_before_the_save_is_seen(
    database: Database, connection: Connection, editor: Connection, stub: ProviderStub
) -> None:
    await add_articles(editor, ["text"])
    async with bench(database, stub) as it:
        async with editor.transaction():
            await editor.execute("UPDATE articles SET content = 'other'")
            assert await it.pipeline.claim(10) == []
            # The article program's own claim:
            assert not await connection.fetch(
                "SELECT id FROM embedding_tasks WHERE status = 'pending' FOR UPDATE SKIP LOCKED"
            )
            # An operator does not wait for the save.
            await connection.execute("UPDATE embedding_tasks SET priority = 'high' WHERE status = 'pending'")
        (task,) = await it.pipeline.claim(10)
        assert task.article is not None
        assert task.article.content == "other"


async def test_a_task_that_is_being_claimed_does_not_count(
    database: Database, connection: Connection, editor: Connection
) -> None:
    await add_articles(editor, ["text"])
    async with connection.transaction():
        await connection.execute("SELECT FROM embedding_tasks FOR UPDATE")
        await editor.execute("UPDATE articles SET content = 'other'")
    assert await queued(connection) == [("article-0", "create"), ("article-0", "update")]


async def test_a_save_while_the_article_is_being_embedded(
    database: Database, connection: Connection, editor: Connection, stub: ProviderStub
) -> None:
    await add_articles(editor, ["one", "two", "three"])
    stub.faults.hold = asyncio.Event()
    async with bench(database, stub) as it:
        working = asyncio.create_task(it.work())
        await until(lambda: stub.seen.in_flight > 0)
        await editor.execute("UPDATE articles SET content = content || ' more' WHERE slug <> 'article-0'")
        await editor.execute("DELETE FROM articles WHERE slug = 'article-1'")
        stub.faults.hold.set()
        await working
        await it.work_off()
    assert await wrong_articles(connection) == []
    assert set(await statuses(connection)) == {"completed"}


async def test_no_rag_on_and_off_again_ends_with_embeddings(
    database: Database, connection: Connection, editor: Connection, stub: ProviderStub
) -> None:
    await add_articles(editor, ["text"])
    async with bench(database, stub) as it:
        await it.work_off()
        await editor.execute("UPDATE articles SET content = 'other'")
        await editor.execute("UPDATE articles SET no_rag = true")
        await editor.execute("UPDATE articles SET no_rag = false")
        assert len(await connection.fetch("SELECT FROM embedding_tasks WHERE status = 'pending'")) == 3
        await it.work_off(limit=1)
    assert await wrong_articles(connection) == []


async def test_whatever_their_order_the_last_task_of_an_article_decides(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    steps = [(operation, priority) for operation in ("update", "delete") for priority in ("normal", "low")]
    stories = list(product(steps, repeat=3))
    articles = await add_articles(connection, ["text"] * len(stories))
    for step in range(3):
        await connection.executemany(
            """INSERT INTO embedding_tasks (article_id, operation, priority, created_at, scheduled_at)
               SELECT $1, $2, $3, at, at FROM (SELECT now() - $4 * interval '1 second' AS at) AS t""",
            [(article, *story[step], 10 - step) for article, story in zip(articles, stories, strict=True)],
        )
    async with bench(database, stub) as it:
        await it.work_off()
    embedded = {row[0] for row in await connection.fetch("SELECT article_id FROM embeddings")}
    wanted = {article for article, story in zip(articles, stories, strict=True) if story[-1][0] == "update"}
    assert embedded == wanted
    assert await statuses(connection) == {"completed": 3 * len(stories)}


# -- a save comes first


async def test_a_save_succeeds_when_its_task_cannot_be_queued_and_a_backfill_finds_it(
    connection: Connection, editor: Connection
) -> None:
    warnings: list[str] = []
    editor.add_log_listener(lambda _, message: warnings.append(str(message)))
    await connection.execute("ALTER TABLE embedding_tasks ADD CONSTRAINT closed CHECK (false) NOT VALID")
    (article,) = await add_articles(editor, ["text"])
    await editor.execute("DELETE FROM articles WHERE id < 0")
    assert await connection.fetchval("SELECT count(*) FROM articles") == 1
    await until(lambda: bool(warnings))
    (row,) = await connection.fetch("SELECT * FROM embedding_audit_logs WHERE level = 'error'")
    assert "closed" in row["error"]
    assert str(article) in row["metadata"]
    found = await plan(connection, BackfillOptions("local/test", 3), words_per_chunk=450)
    assert found.counts[Category.MISSING].to_queue == 1


async def test_a_save_succeeds_when_not_even_that_can_be_told(
    connection: Connection, editor: Connection
) -> None:
    warnings: list[str] = []
    editor.add_log_listener(lambda _, message: warnings.append(str(message)))
    await connection.execute("DROP TABLE embedding_tasks, embedding_audit_logs CASCADE")
    await add_articles(editor, ["text"])
    await until(lambda: len(warnings) == 2)


async def test_health_tells_what_could_not_be_queued_until_somebody_has_queued_it(
    database: Database, connection: Connection, editor: Connection
) -> None:
    async def unqueued() -> float:
        found = await health(connection, database.settings)
        return next((issue.measured for issue in found.issues if issue.code == Code.UNQUEUED), 0)

    articles = await add_articles(connection, ["one", "two", "three", "four"])
    await queued(connection)
    await add_articles(connection, ["five"], slug="in-the-queue")
    async with connection.transaction():
        await connection.execute("LOCK TABLE embedding_tasks")
        for _ in range(2):
            await editor.execute("UPDATE articles SET content = content || ' more'")
    assert await unqueued() == 4
    await editor.execute("UPDATE articles SET content = content || '!' WHERE id = $1", articles[0])
    await editor.execute("DELETE FROM articles WHERE id = $1", articles[1])
    assert await unqueued() == 2
    await embed(connection, articles[2])  # by the task that was in progress
    assert await unqueued() == 1
    await run(connection, BackfillOptions("local/test", 3), by="me@here", planned=2)
    assert await unqueued() == 0


async def test_what_could_not_be_queued_is_found_by_its_own_index(
    database: Database, connection: Connection
) -> None:
    await connection.execute(
        """INSERT INTO embedding_audit_logs (id, level, category, message)
           SELECT embedq_uuid(), 'error', 'error_handling', 'Task failed' FROM generate_series(1, 2000);
           ANALYZE embedding_audit_logs"""
    )
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await health(connection, database.settings)
        uses = "SELECT pg_stat_get_xact_numscans('embedq_audit_unqueued_idx'::regclass)"
        assert await connection.fetchval(uses) > 0


@pytest.mark.parametrize("limit", ["", "statement_timeout", "transaction_timeout"])
async def test_a_save_does_not_wait_for_a_locked_queue(
    server: Server, connection: Connection, editor: Connection, limit: str
) -> None:
    if limit == "transaction_timeout" and server.version < 17:
        pytest.skip("there is no such limit")
    warnings: list[str] = []
    editor.add_log_listener(lambda _, message: warnings.append(str(message)))
    if limit:
        await editor.execute(f"SET {limit} = '800ms'")
    async with connection.transaction():
        await connection.execute("LOCK TABLE embedding_tasks")
        began = monotonic()
        await add_articles(editor, ["text"])
        assert monotonic() - began < 4
    await until(lambda: bool(warnings))


async def test_a_role_that_knows_nothing_of_the_queue_can_save(
    connection: Connection, editor: Connection
) -> None:
    await connection.execute(
        """DO $$ BEGIN CREATE ROLE embedq_test_author; EXCEPTION WHEN duplicate_object THEN END $$;
           GRANT SELECT, INSERT, UPDATE, DELETE ON articles TO embedq_test_author;
           GRANT USAGE ON SEQUENCE articles_id_seq TO embedq_test_author"""
    )
    try:
        await editor.execute("SET ROLE embedq_test_author; SET search_path = pg_catalog")
        await editor.execute("INSERT INTO public.articles (title, slug, content) VALUES ('T', 's', 'text')")
        assert await queued(connection) == [("s", "create")]
    finally:
        await connection.execute("DROP OWNED BY embedq_test_author; DROP ROLE embedq_test_author")


async def test_a_role_cannot_slip_tables_of_its_own_under_the_trigger(
    connection: Connection, editor: Connection
) -> None:
    """It runs with the rights of its owner, and so would whatever hangs on a table that it takes for ours."""
    (article,) = await add_articles(connection, ["text"])
    await store_chunk(connection, article)
    await connection.execute("DELETE FROM embedding_tasks")
    await editor.execute(
        """CREATE TEMP TABLE embedding_tasks (LIKE public.embedding_tasks);
           CREATE TEMP TABLE embedding_audit_logs (LIKE public.embedding_audit_logs);
           CREATE TEMP TABLE embeddings (LIKE public.embeddings);
           CREATE TEMP TABLE embedq_articles (LIKE public.embedq_articles);
           CREATE FUNCTION pg_temp.theirs() RETURNS trigger LANGUAGE plpgsql
           AS $$ BEGIN RAISE EXCEPTION 'as %', current_user; END $$;
           CREATE TRIGGER theirs BEFORE INSERT ON pg_temp.embedding_tasks
           FOR EACH ROW EXECUTE FUNCTION pg_temp.theirs()"""
    )
    await editor.execute("INSERT INTO articles (title, slug, content) VALUES ('T', 'new', 'text')")
    await editor.execute("UPDATE articles SET no_rag = true WHERE slug = 'article-0'")
    assert await queued(connection) == [("new", "create"), ("article-0", "delete")]
    await editor.execute("DELETE FROM articles")
    assert len(await queued(connection)) == 2
    assert await connection.fetchval("SELECT count(*) FROM embeddings") == 0
