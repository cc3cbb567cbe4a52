"""Drafts stored through `store_articles`: what is written, what is queued, and who else may be writing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

import asyncpg
import pytest

from embedq_worker.content.articles import ImportCounts, ImportOptions, Item, StoredBatch, store_articles
from embedq_worker.content.importing import ArticleDraft, Skipped
from embedq_worker.errors import EmbedqError
from tests.support.blocking import until_blocked
from tests.support.content import add_articles, store_chunk
from tests.support.databases import Connection, Database

OPTIONS = ImportOptions(by="importer@here", max_attempts=5)


def draft(slug: str = "guide", content: str = "Some text.", **values: object) -> ArticleDraft:
    plain = ArticleDraft(slug, f"Title of {slug}", content, None, None, None, source=f"{slug}.md")
    return replace(plain, **values)  # type: ignore[arg-type]


async def store(
    connection: Connection, *items: Item, options: ImportOptions = OPTIONS
) -> tuple[dict[str, tuple[str, bool]], list[Skipped]]:
    """What became of each slug, and what was skipped."""
    batches: list[StoredBatch] = [batch async for batch in store_articles(connection, items, options)]
    articles: dict[str, tuple[str, bool]] = {
        article.slug: (article.outcome, article.queued) for batch in batches for article in batch.articles
    }
    return articles, [skipped for batch in batches for skipped in batch.skipped]


async def counts_of(connection: Connection, items: Iterable[Item]) -> ImportCounts:
    counts = ImportCounts()
    async for batch in store_articles(connection, items, OPTIONS):
        counts.add(batch)
    return counts


async def open_tasks(connection: Connection) -> list[tuple[str, str]]:
    """Slug and operation of the pending tasks, oldest first."""
    rows = await connection.fetch(
        "SELECT slug, operation FROM embedding_tasks WHERE status = 'pending' ORDER BY created_at, slug"
    )
    return [(row["slug"], row["operation"]) for row in rows]


async def article(connection: Connection, slug: str = "guide") -> asyncpg.Record:
    row = await connection.fetchrow("SELECT * FROM articles WHERE slug = $1", slug)
    assert row is not None
    return row


# -- what is written and queued


async def test_new_articles_are_stored_and_queued(connection: Connection) -> None:
    stated = draft("b", folder="guide/set up", is_public=True, no_rag=False)
    outcomes, _ = await store(connection, draft("a"), stated, options=replace(OPTIONS, priority="high"))
    assert outcomes == {"a": ("created", True), "b": ("created", True)}

    plain, full = await article(connection, "a"), await article(connection, "b")
    assert (plain["title"], plain["content"]) == ("Title of a", "Some text.")
    assert (plain["folder"], plain["is_public"], plain["no_rag"]) == ("", False, False)
    assert (full["folder"], full["is_public"], full["no_rag"]) == ("guide/set up", True, False)
    assert (plain["created_by"], plain["updated_by"]) == ("importer@here", "importer@here")
    assert plain["created_at"] == plain["updated_at"] is not None

    tasks = await connection.fetch("SELECT * FROM embedding_tasks ORDER BY slug")
    assert [(task["article_id"], task["slug"]) for task in tasks] == [(plain["id"], "a"), (full["id"], "b")]
    for task in tasks:
        assert (task["operation"], task["priority"], task["status"]) == ("create", "high", "pending")
        assert (task["attempts"], task["max_attempts"]) == (0, 5)


async def test_what_is_unchanged_is_left_alone(connection: Connection) -> None:
    drafts = [draft(f"note-{number}") for number in range(20)]
    assert await counts_of(connection, drafts) == ImportCounts(created=20, queued=20)
    before = await connection.fetch("SELECT xmin, * FROM articles ORDER BY id")
    await connection.execute("DELETE FROM embedding_tasks")

    assert await counts_of(connection, drafts) == ImportCounts(unchanged=20)
    assert await connection.fetch("SELECT xmin, * FROM articles ORDER BY id") == before
    assert await open_tasks(connection) == []
    await store(connection, draft("next"))
    assert (await article(connection, "next"))["id"] == before[-1]["id"] + 1  # no ids were burnt


async def test_an_article_is_updated_in_place_and_only_what_the_draft_states(connection: Connection) -> None:
    await store(connection, draft(folder="ops", is_public=True, no_rag=False))
    old = await article(connection)
    await connection.execute("DELETE FROM embedding_tasks; UPDATE articles SET created_by = 'editor'")

    outcomes, _ = await store(connection, draft(content="Other text."), options=replace(OPTIONS, by="x@y"))
    assert outcomes == {"guide": ("updated", True)}
    new = await article(connection)
    assert (new["id"], new["created_at"], new["created_by"]) == (old["id"], old["created_at"], "editor")
    assert (new["content"], new["folder"], new["is_public"]) == ("Other text.", "ops", True)
    assert new["updated_by"] == "x@y"
    assert new["updated_at"] > old["updated_at"]
    assert await open_tasks(connection) == [("guide", "update")]


async def test_what_is_not_embedded_needs_no_task(connection: Connection) -> None:
    await store(connection, draft())
    await connection.execute("DELETE FROM embedding_tasks")
    outcomes, _ = await store(connection, draft(folder="elsewhere", is_public=True))
    assert outcomes == {"guide": ("updated", False)}
    assert (await article(connection))["folder"] == "elsewhere"
    assert await open_tasks(connection) == []


@pytest.mark.parametrize("has_embeddings", [True, False])
async def test_a_no_rag_article_is_queued_only_to_lose_its_embeddings(
    connection: Connection, has_embeddings: bool
) -> None:
    outcomes, _ = await store(connection, draft("never", no_rag=True), draft("another"), draft())
    assert outcomes["never"] == ("created", False)
    await connection.execute("DELETE FROM embedding_tasks")
    await store_chunk(connection, (await article(connection, "another"))["id"])
    if has_embeddings:
        await store_chunk(connection, (await article(connection))["id"])

    for expected in (("updated", has_embeddings), ("unchanged", False)):
        outcomes, _ = await store(connection, draft(no_rag=True))
        assert outcomes == {"guide": expected}
    assert await open_tasks(connection) == [("guide", "delete")] * has_embeddings
    outcomes, _ = await store(connection, draft(title="Not stating whether it is wanted"))
    assert outcomes == {"guide": ("updated", has_embeddings)}
    assert await open_tasks(connection) == [("guide", "delete")] * has_embeddings

    await connection.execute("UPDATE embedding_tasks SET status = 'completed'")
    outcomes, _ = await store(connection, draft(title="Not stating whether it is wanted", no_rag=False))
    assert outcomes == {"guide": ("updated", True)}
    assert await open_tasks(connection) == [("guide", "update")]


async def test_a_dry_run_tells_the_same_and_writes_nothing(connection: Connection) -> None:
    await store(connection, draft("same"), draft("changed"), draft("moved"))
    await connection.execute("DELETE FROM embedding_tasks")
    drafts: list[Item] = [
        draft("same"),
        draft("changed", "Other text."),
        draft("moved", folder="x"),
        draft("new"),
        draft("never", no_rag=True),
        Skipped("z.md", "not UTF-8"),
    ]
    before = await connection.fetch("SELECT * FROM articles ORDER BY id")
    told = await store(connection, *drafts, options=replace(OPTIONS, dry_run=True))
    assert await connection.fetch("SELECT * FROM articles ORDER BY id") == before
    assert await open_tasks(connection) == []
    assert await store(connection, *drafts) == told
    assert told[1] == [Skipped("z.md", "not UTF-8")]


async def test_every_batch_with_changes_is_in_the_audit_log(connection: Connection) -> None:
    drafts = [draft(f"note-{number}") for number in range(3)]
    await counts_of(connection, drafts)
    await counts_of(connection, drafts)
    (row,) = await connection.fetch(
        """SELECT metadata ->> 'operator' AS operator, metadata ->> 'host' AS host,
                  (metadata ->> 'created')::int AS created
           FROM embedding_audit_logs WHERE category = 'bulk_operations'"""
    )
    assert (row["operator"], row["host"], row["created"]) == ("importer", "here", 3)


async def test_an_import_of_many_batches(connection: Connection) -> None:
    drafts = [draft(f"note-{number}", "x" * 5_000) for number in range(1_200)]
    assert await counts_of(connection, drafts) == ImportCounts(created=1_200, queued=1_200)


# -- one task is enough


async def test_a_pending_task_is_not_queued_twice(connection: Connection) -> None:
    for text in ("one", "two", "three"):
        outcomes, _ = await store(connection, draft(content=text))
        assert outcomes["guide"][1]
    assert await open_tasks(connection) == [("guide", "create")]


@pytest.mark.parametrize(
    "unfit",
    [
        "attempts = 1",
        "scheduled_at = now() + interval '1 hour'",
        "priority = 'low'",
        """metadata = '{"bulkOperationId": "x"}'""",
        "operation = 'delete'",
        "status = 'processing'",
        "status = 'failed'",
    ],
)
async def test_a_task_that_might_not_do_it_as_soon_or_at_all_does_not_count(
    connection: Connection, unfit: str
) -> None:
    await store(connection, draft())
    await connection.execute(f"UPDATE embedding_tasks SET {unfit}")
    await store(connection, draft(content="Other text."))
    assert await connection.fetchval("SELECT count(*) FROM embedding_tasks") == 2


@pytest.mark.parametrize("status", ["pending", "processing"])
async def test_a_delete_on_its_way_would_undo_an_older_task(connection: Connection, status: str) -> None:
    await store(connection, draft())
    await connection.execute(
        """INSERT INTO embedding_tasks (article_id, slug, operation, status)
           SELECT id, slug, 'delete', $1 FROM articles""",
        status,
    )
    await store(connection, draft(content="Other text."))
    pending = [("guide", "create"), ("guide", "delete"), ("guide", "update")]
    assert await open_tasks(connection) == (pending if status == "pending" else pending[::2])


# -- others write as well


async def test_an_article_that_is_being_saved_is_waited_for(
    database: Database, connection: Connection
) -> None:
    await store(connection, draft())
    await connection.execute("DELETE FROM embedding_tasks")
    editor, importer = await database.connect(), await database.connect()
    async with editor.transaction():
        await editor.execute("UPDATE articles SET title = 'Edited', content = 'Edited.', is_public = true")
        importing = asyncio.create_task(store(importer, draft(content="Imported.")))
        await until_blocked(connection, importer)
    outcomes, _ = await importing
    assert outcomes == {"guide": ("updated", True)}
    row = await article(connection)
    assert (row["title"], row["content"], row["is_public"]) == ("Title of guide", "Imported.", True)
    assert await open_tasks(connection) == [("guide", "update")]


async def test_what_another_program_changed_back_meanwhile_is_compared_again(
    database: Database, connection: Connection
) -> None:
    await connection.execute(
        "INSERT INTO articles (title, slug, content) VALUES ('Title of guide', 'guide', 'a')"
    )
    editor, importer = await database.connect(), await database.connect()
    async with editor.transaction():
        await editor.execute("UPDATE articles SET content = 'b', folder = NULL")
        importing = asyncio.create_task(store(importer, draft(content="b")))
        await until_blocked(connection, importer)
    assert (await importing)[0] == {"guide": ("unchanged", False)}


@pytest.mark.parametrize("ends", ["commit", "rollback"])
async def test_a_slug_that_is_being_created_is_waited_for(
    database: Database, connection: Connection, ends: str
) -> None:
    editor, importer = await database.connect(), await database.connect()
    transaction = editor.transaction()
    await transaction.start()
    await editor.execute(
        "INSERT INTO articles (title, slug, content) VALUES ('Other', 'guide', 'Other text.')"
    )
    importing = asyncio.create_task(store(importer, draft(), draft("second")))
    await until_blocked(connection, importer)
    await (transaction.commit() if ends == "commit" else transaction.rollback())
    outcomes, _ = await importing
    assert outcomes == {
        "guide": ("updated" if ends == "commit" else "created", True),
        "second": ("created", True),
    }
    assert (await article(connection))["content"] == "Some text."


async def test_an_article_that_is_being_deleted_is_made_anew(
    database: Database, connection: Connection
) -> None:
    await store(connection, draft())
    editor, importer = await database.connect(), await database.connect()
    async with editor.transaction():
        await editor.execute("DELETE FROM articles")
        importing = asyncio.create_task(store(importer, draft(content="Other text.")))
        await until_blocked(connection, importer)
    assert (await importing)[0] == {"guide": ("created", True)}
    assert await open_tasks(connection) == [("guide", "create")]


async def test_two_imports_of_the_same_files_do_not_wait_for_each_other_for_ever(
    database: Database, connection: Connection
) -> None:
    await add_articles(connection, ["old"] * 200, slug="note")
    drafts = [draft(f"note-{number}", "new") for number in range(400)]
    connections = [await database.connect() for _ in range(3)]
    orders: Sequence[Sequence[ArticleDraft]] = (drafts, drafts[::-1], drafts[200:] + drafts[:200])
    all_counts = await asyncio.gather(*map(counts_of, connections, orders))
    assert sum(counts.created for counts in all_counts) == 200
    assert sum(counts.updated for counts in all_counts) == 200
    assert len(await open_tasks(connection)) == 400


async def test_whoever_saves_articles_in_another_order_is_not_the_victim_of_an_import(
    database: Database, connection: Connection
) -> None:
    await add_articles(connection, ["old"] * 2, slug="note")
    editor, importer = await database.connect(), await database.connect()
    save = "UPDATE articles SET is_public = true WHERE slug = $1"
    async with editor.transaction():
        await editor.execute(save, "note-1")
        importing = asyncio.create_task(store(importer, draft("note-0", "new"), draft("note-1", "new")))
        await until_blocked(connection, importer)  # holds note-0, and waits for note-1
        await editor.execute(save, "note-0")
    assert (await importing)[0] == {"note-0": ("updated", True), "note-1": ("updated", True)}
    assert await connection.fetchval("SELECT count(*) FROM articles WHERE is_public AND content = 'new'") == 2


async def test_an_article_that_stays_locked_ends_an_import_with_advice(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedq_worker.content.articles.ROWS_TRIES", 2)
    await add_articles(connection, ["old"], slug="note")
    editor = await database.connect()
    async with editor.transaction():
        await editor.execute("UPDATE articles SET is_public = true")
        with pytest.raises(EmbedqError):
            await store(connection, draft("note-0", "new"))
    assert (await store(connection, draft("note-0", "new")))[0] == {"note-0": ("updated", True)}


# -- tables of another program


async def test_tables_without_defaults(connection: Connection) -> None:
    await connection.execute(
        """ALTER TABLE embedding_tasks ALTER id DROP DEFAULT, ALTER status DROP DEFAULT,
               ALTER attempts DROP DEFAULT, ALTER max_attempts DROP DEFAULT, ALTER created_at DROP DEFAULT,
               ALTER scheduled_at DROP DEFAULT, ALTER priority DROP DEFAULT;
           ALTER TABLE articles ALTER folder DROP DEFAULT, ALTER is_public DROP DEFAULT,
               ALTER no_rag DROP DEFAULT, ALTER created_at DROP DEFAULT, ALTER updated_at DROP DEFAULT,
               ALTER folder SET NOT NULL, ALTER is_public SET NOT NULL, ALTER no_rag SET NOT NULL"""
    )
    outcomes, _ = await store(connection, draft())
    assert outcomes == {"guide": ("created", True)}
    assert await open_tasks(connection) == [("guide", "create")]


async def test_an_article_the_database_refuses_does_not_stop_the_others(connection: Connection) -> None:
    await connection.execute("ALTER TABLE articles ADD CHECK (content <> 'Forbidden.')")
    outcomes, skipped = await store(connection, draft("a"), draft("b", "Forbidden."), draft("c"))
    assert outcomes == {"a": ("created", True), "c": ("created", True)}
    assert [item.source for item in skipped] == ["b.md"]
