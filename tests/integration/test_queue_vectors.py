"""Completion: which chunks and vectors are kept, and which are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import product
from uuid import UUID

import asyncpg
import pytest

from embedq_worker.queue import claims
from embedq_worker.queue.claims import ClaimedTask
from embedq_worker.schema.storage import inspect_storage
from tests.support.databases import DIMENSIONS, Connection
from tests.support.queue_world import BOTH_STORAGES, MODEL, World, completion_of, waiters


@BOTH_STORAGES
async def test_an_article_that_shrinks_loses_the_chunks_behind_its_end(world: World) -> None:
    article, longer = await world.articles(2, "A.\nB.\nC.\nD.")
    for one in (article, longer):
        await world.embed(one)
    for text in ("A.\nB.", "", "E."):
        await world.psql.execute("UPDATE articles SET content = $1 WHERE id = $2", text, article)
        await world.embed(article)
        assert await world.texts(article) == [line for line in text.splitlines() if line]
    assert len(await world.texts(longer)) == 4
    recorded = await world.psql.fetch("SELECT article_id, chunks FROM embedq_articles ORDER BY embedded_at")
    assert [tuple(row) for row in recorded] == [(longer, 4), (article, 1)]


@BOTH_STORAGES
async def test_unchanged_chunks_keep_their_rows_and_vectors(world: World) -> None:
    article = await world.article("A.\nB.\nC.")
    await world.embed(article)
    before = await world.embeddings(article)
    await world.psql.execute("UPDATE articles SET content = E'A.\nX.\nC.'")
    await world.embed(article)
    after = await world.embeddings(article)
    assert (after[0], after[2]) == (before[0], before[2])
    assert (after[1]["id"], after[1]["text_content"]) == (before[1]["id"], "X.")
    assert after[1]["vector"] != before[1]["vector"]


@BOTH_STORAGES
async def test_a_chunk_that_moves_takes_its_vector_along(world: World) -> None:
    article = await world.article("A.\nB.\nC.")
    await world.embed(article)
    vectors = {row["text_content"]: row["vector"] for row in await world.embeddings(article)}
    for text in ("C.\nA.\nB.", "New.\nB.\nC.\nA.", "A.\nA.\nC."):
        await world.psql.execute("UPDATE articles SET content = $1", text)
        await world.embed(article)
        rows = await world.embeddings(article)
        assert [row["text_content"] for row in rows] == text.splitlines()
        for row in rows:
            assert row["vector"] == vectors.setdefault(row["text_content"], row["vector"])


@BOTH_STORAGES
async def test_a_vector_that_is_gone_when_it_is_wanted_is_asked_for_again(world: World) -> None:
    await world.embed(await world.article("A.\nB."))  # of the same text, but no help
    article = await world.article("A.\nB.")
    scope = await world.worker()
    column = "vector_data" if world.storage.schema is None else "vector"
    for loss in (
        "DELETE FROM embeddings WHERE article_id = $1",
        "DELETE FROM embeddings WHERE article_id = $1 AND chunk_index = 1",
        "UPDATE embeddings SET model = 'other' WHERE article_id = $1",
        f"UPDATE embeddings SET {column} = NULL WHERE article_id = $1",
    ):
        await world.embed(article)
        task = await world.task(article)
        held = await world.claim_one(scope)
        await world.psql.execute(loss, article)
        assert await world.complete(scope, held) == ["changed"]
        assert (await world.row(task))["attempts"] == 0
        assert await world.complete(scope, await world.claim_one(scope)) == ["stored"]
        assert [bool(row["vector"]) for row in await world.embeddings(article)] == [True, True]


async def test_a_vector_that_is_gone_concerns_its_own_article_and_no_task_that_is_lost(world: World) -> None:
    whole, bare, lost = articles = [await world.article(text) for text in ("A.", "B.", "C.")]
    for article in articles:
        await world.embed(article)
    for due_s, article in enumerate(articles):
        await world.task(article, due_s=due_s - 60.0)
    scope, other = await world.worker(), await world.worker()
    held = await world.claim(scope)
    await world.psql.execute("DELETE FROM embeddings WHERE article_id = ANY ($1)", [bare, lost])
    await world.psql.execute(
        "UPDATE embedding_tasks SET status = 'pending', processed_at = NULL WHERE id = $1", held[2].id
    )
    await world.claim_one(other)
    assert await world.complete(scope, *held) == ["stored", "changed", "lost"]
    assert [await world.status(task.id) for task in held] == ["completed", "pending", "processing"]
    assert await world.texts(whole) == ["A."]


@BOTH_STORAGES
async def test_of_equal_chunks_the_vector_of_our_model_is_kept(world: World) -> None:
    article = await world.article("A.\nA.")
    await world.embed(article)
    _, ours = [row["vector"] for row in await world.embeddings(article)]
    column = "vector_data" if world.storage.schema is None else "vector"
    for loss, index in product(
        (f"model = 'other', {column} = '{[1] * DIMENSIONS}'", f"{column} = NULL"), (0, 1)
    ):
        await world.psql.execute(f"UPDATE embeddings SET {loss} WHERE chunk_index = {index}")
        await world.embed(article)
        assert [row["vector"] for row in await world.embeddings(article)] == [ours, ours]


@BOTH_STORAGES
async def test_a_chunk_without_a_vector_is_not_taken_for_embedded(world: World) -> None:
    """As after ALTER TABLE embeddings ALTER vector TYPE vector(8) USING NULL."""
    article = await world.article("A.\nB.")
    await world.embed(article)
    column = "vector_data" if world.storage.schema is None else "vector"
    await world.psql.execute(f"UPDATE embeddings SET {column} = NULL")
    await world.embed(article)
    assert [bool(row["vector"]) for row in await world.embeddings(article)] == [True, True]


@pytest.mark.pgvector
async def test_pgvector_may_be_in_a_schema_that_is_not_in_the_search_path(world: World) -> None:
    await world.psql.execute("CREATE SCHEMA elsewhere; ALTER EXTENSION vector SET SCHEMA elsewhere")
    world = replace(world, storage=await inspect_storage(world.psql))
    article = await world.article("A.\nB.")
    await world.embed(article)
    before = await world.embeddings(article)
    await world.psql.execute("UPDATE embeddings SET vector = NULL WHERE chunk_index = 1")
    await world.embed(article)
    assert [row["vector"] for row in await world.embeddings(article)] == [row["vector"] for row in before]
    assert (await world.embeddings(article))[0] == before[0]


@BOTH_STORAGES
async def test_chunks_of_a_foreign_worker_are_replaced(world: World) -> None:
    article = await world.article("A.\nB.")
    await world.psql.execute(
        """INSERT INTO embeddings (article_id, chunk_id, chunk_index, text_content, content_hash)
           SELECT id, slug || '.md#' || n, n, 'foreign', 'foreign' FROM articles, generate_series(-1, 7) n"""
    )
    await world.embed(article)
    assert await world.texts(article) == ["A.", "B."]
    assert {row["model"] for row in await world.embeddings(article)} == {MODEL}


@BOTH_STORAGES
async def test_a_chunk_of_another_program_that_has_no_place_is_removed(world: World) -> None:
    """Else a backfill would queue their article for ever."""
    article = await world.article("A.")
    await world.psql.execute("ALTER TABLE embeddings ALTER chunk_index DROP NOT NULL")
    await world.psql.execute(
        """INSERT INTO embeddings (article_id, chunk_id, chunk_index, text_content)
           VALUES ($1, 'x', NULL, 'B.')""",
        article,
    )
    await world.embed(article)
    assert await world.texts(article) == ["A."]


@BOTH_STORAGES
async def test_what_another_program_did_to_a_chunk_is_put_right(world: World) -> None:
    article = await world.article("A.\nB.")
    await world.embed(article)
    made, other = map(dict, await world.embeddings(article))
    for column in ("chunk_id", "heading_path", "text_content", "content_hash", "model"):
        await world.psql.execute(f"UPDATE embeddings SET {column} = '{{}}' WHERE chunk_index = 0")
        await world.embed(article)
        repaired, untouched = map(dict, await world.embeddings(article))
        assert repaired.pop("created_at") > made["created_at"]
        assert repaired.items() <= made.items()
        assert untouched == other


async def test_a_long_slug_fits(world: World) -> None:
    article = await world.article("A.\nB.")
    await world.psql.execute("UPDATE articles SET slug = repeat('ü', 255)")
    await world.embed(article)
    assert [len(row["chunk_id"]) for row in await world.embeddings(article)] == [255, 255]


# -- articles of many chunks: their text is locked at the end alone


@asynccontextmanager
async def large_article_on_its_way(
    world: World, *, until: str, unwanted: bool = False
) -> AsyncIterator[tuple[Connection, asyncio.Task[dict[UUID, str]], ClaimedTask]]:
    """While the completion of a large article waits before a statement: an author, and the completion."""
    article = await world.article("\n".join(f"Line {number}." for number in range(101)))
    await world.embed(article)
    await world.psql.execute("UPDATE articles SET title = 'New'")
    await world.task(article)
    scope = await world.worker()
    held = await world.claim_one(scope)
    await world.psql.execute(f"UPDATE articles SET no_rag = {unwanted}")
    await world.psql.execute(
        f"""CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
            CREATE TRIGGER gate BEFORE {until} FOR EACH STATEMENT EXECUTE FUNCTION gate()"""
    )
    author = await world.database.connect()
    await author.execute("SET lock_timeout = '50ms'")
    async with world.psql.transaction():
        await world.psql.execute("SELECT pg_advisory_xact_lock(7)")
        work = claims.complete(world.pool, scope, world.storage, [completion_of(held)], lock_s=30)
        completing = asyncio.create_task(work)
        await waiters(world, 1)
        yield author, completing, held
    await author.close()


async def test_between_the_last_look_at_a_large_article_and_the_end_nobody_saves_it(world: World) -> None:
    async with large_article_on_its_way(world, until="UPDATE ON embedding_tasks") as (author, completing, _):
        with pytest.raises(asyncpg.LockNotAvailableError):
            await author.execute("UPDATE articles SET content = 'Other.'")
    assert set((await completing).values()) == {"stored"}


async def test_a_large_article_that_is_wanted_again_meanwhile_keeps_its_embeddings(world: World) -> None:
    scene = large_article_on_its_way(world, until="DELETE ON embeddings", unwanted=True)
    async with scene as (author, completing, held):
        await author.execute("UPDATE articles SET no_rag = false")
    with pytest.raises(asyncpg.SerializationError):
        await completing
    assert len(await world.embeddings(held.article_id or 0)) == 101


async def test_a_large_article_that_is_being_saved_is_contended_before_anything_is_stored(
    world: World,
) -> None:
    article = await world.article("\n".join(f"Line {number}." for number in range(101)))
    await world.task(article)
    scope = await world.worker()
    held = await world.claim_one(scope)
    author = await world.database.connect()
    async with author.transaction():
        await author.execute("UPDATE articles SET folder = 'elsewhere'")
        assert await world.complete(scope, held) == ["contended"]
    assert await world.complete(scope, held) == ["stored"]
