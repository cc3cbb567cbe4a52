"""Completion: vectors and the end of the task together, and only of the text that is there."""

from __future__ import annotations

import asyncio
import json
from array import array
from dataclasses import replace
from random import Random
from uuid import uuid4

import asyncpg
import pytest

from embedq_worker.database.connections import open_pool
from tests.support.queue_world import (
    BOTH_STORAGES,
    HEADINGS,
    MODEL,
    World,
    chunks_of,
    completion_of,
    vector_of,
)


@BOTH_STORAGES
async def test_vectors_and_the_end_of_the_task_are_there_together(world: World) -> None:
    article = await world.article("First.\nSecond.")
    task = await world.task(article)
    scope = await world.worker()
    held = await world.claim_one(scope)
    watch = await world.database.connect()
    assert await world.complete(scope, completion_of(held, note="shortened")) == ["stored"]
    row = await world.row(task)
    assert (row["status"], row["attempts"], row["error_message"]) == ("completed", 1, None)
    assert row["completed_at"] >= row["processed_at"]
    rows = await world.embeddings(article)
    slug = held.article.slug if held.article else ""
    assert [tuple(row)[1:7] for row in rows] == [
        (f"{slug}.md#{chunk.index}", chunk.index, list(HEADINGS), chunk.text, chunk.content_hash, MODEL)
        for chunk in chunks_of("First.\nSecond.")
    ]
    for row in rows:
        components = [float(text) for text in row["vector"].strip("[]").split(",")]
        assert components == pytest.approx(vector_of(row["text_content"]).tolist(), rel=1e-6)
    assert await watch.fetchval("SELECT count(*) FROM embedding_audit_logs WHERE level = 'warn'") == 1
    assert await watch.fetchval("SELECT source FROM embedq_articles") == (
        held.article and held.article.source
    )
    metric = await watch.fetchrow("SELECT metric_type, unit, value FROM performance_metrics")
    assert metric is not None
    assert metric["metric_type"] == "task_processing_time"
    assert metric["value"] > 0


async def test_each_task_of_a_batch_has_its_own_audit_rows(world: World) -> None:
    articles = [await world.article(text) for text in ("A.", "A.", "A.\nB.", "A.", "A.")]
    tasks = await world.tasks(articles)
    await world.psql.execute("UPDATE embedding_tasks SET attempts = 1 WHERE id = $1", tasks[1])
    scope = await world.worker()
    held = {task.id: task for task in await world.claim(scope)}
    items = [completion_of(held[task], note="short" if task == tasks[3] else "") for task in tasks]
    await world.psql.execute("UPDATE articles SET content = 'B.' WHERE id = $1", articles[4])
    assert await world.complete(scope, *items) == ["stored"] * 4 + ["changed"]
    rows = await world.psql.fetch(
        "SELECT task_id, level, metadata, duration FROM embedding_audit_logs WHERE task_id IS NOT NULL"
    )
    told = {(row["task_id"], row["level"] == "debug"): json.loads(row["metadata"]) for row in rows}
    worker = {"worker": str(scope.worker)}
    assert len(rows) == 2 * len(tasks)
    assert [told[task, True] for task in tasks] == [
        worker | {"attempt": attempt} for attempt in (1, 2, 1, 1, 1)
    ]
    assert [told[task, False] for task in tasks] == [
        worker | {"outcome": "stored", "chunks": 1},
        worker | {"outcome": "stored", "chunks": 1},
        worker | {"outcome": "stored", "chunks": 2},
        worker | {"outcome": "stored", "chunks": 1, "note": "short"},
        worker | {"outcome": "changed", "chunks": 1},
    ]
    took_ms = await world.psql.fetchval(
        "SELECT extract(epoch FROM max(completed_at) - max(claimed_at)) * 1000 FROM embedding_tasks"
    )
    durations = [float(row["duration"]) for row in rows if row["duration"] is not None]
    assert durations == [pytest.approx(float(took_ms))] * len(tasks)


# -- what became of the article meanwhile


async def test_a_text_that_changed_is_embedded_again_and_nobody_is_charged(world: World) -> None:
    article = await world.article("First.")
    task = await world.task(article, max_attempts=1)
    scope = await world.worker()
    for change in ("content = 'Other.'", "title = 'Other'", "slug = 'other'", "content = content || E'\\n'"):
        held = await world.claim_one(scope)
        await world.psql.execute(f"UPDATE articles SET {change}")
        assert await world.complete(scope, held) == ["changed"]
        row = await world.row(task)
        assert (row["status"], row["attempts"]) == ("pending", 0)
        assert (row["processed_at"], row["completed_at"]) == (None, None)
        assert await world.embeddings(article) == []
    assert await world.complete(scope, await world.claim_one(scope)) == ["stored"]
    assert await world.psql.fetchval("SELECT count(*) FROM performance_metrics") == 1


async def test_what_is_no_part_of_the_text_changes_nothing(world: World) -> None:
    await world.task(await world.article())
    scope = await world.worker()
    held = await world.claim_one(scope)
    await world.psql.execute("UPDATE articles SET folder = 'elsewhere', is_public = true, updated_at = now()")
    assert await world.complete(scope, held) == ["stored"]


@BOTH_STORAGES
async def test_an_article_that_must_not_be_embedded_any_more_loses_its_vectors(world: World) -> None:
    article, read_late = await world.articles(2)
    await world.embed(article)
    await world.psql.execute("UPDATE articles SET no_rag = true WHERE id = $1", read_late)
    await world.tasks([article, read_late])
    scope = await world.worker()
    tasks = await world.claim(scope)
    await world.psql.execute("UPDATE articles SET no_rag = true")
    assert await world.complete(scope, *tasks) == ["skipped", "skipped"]
    assert await world.embeddings(article) == []
    assert await world.psql.fetchval("SELECT count(*) FROM embedq_articles") == 0


async def test_an_article_that_may_be_embedded_again_meanwhile_is(world: World) -> None:
    article = await world.article(no_rag=True)
    await world.task(article)
    scope = await world.worker()
    held = await world.claim_one(scope)
    await world.psql.execute("UPDATE articles SET no_rag = NULL")
    assert await world.complete(scope, held) == ["changed"]
    assert await world.complete(scope, await world.claim_one(scope)) == ["stored"]


@BOTH_STORAGES
async def test_a_delete_removes_the_vectors_and_no_text_is_compared(world: World) -> None:
    article, other = await world.articles(2)
    for one in (article, other):
        await world.embed(one)
    task = await world.task(article, "delete")
    scope = await world.worker()
    held = await world.claim_one(scope)
    await world.psql.execute("UPDATE articles SET content = 'Other.'")
    assert await world.complete(scope, held) == ["removed"]
    assert await world.embeddings(article) == []
    assert len(await world.embeddings(other)) == 1
    recorded = await world.psql.fetch("SELECT article_id FROM embedq_articles")
    assert [row["article_id"] for row in recorded] == [other]
    assert await world.status(task) == "completed"


async def test_an_article_that_was_not_found_is_not_taken_for_deleted(world: World) -> None:
    """A worker that saw no article says so as a delete; it is there, so the task has to come again."""
    article = await world.article()
    await world.embed(article)
    await world.task(article, "update")
    scope = await world.worker()
    held = (await world.claim_one(scope))._replace(article=None)
    assert await world.complete(scope, held) == ["changed"]
    assert len(await world.embeddings(article)) == 1


@pytest.mark.parametrize("first_goes", [False, True])
async def test_a_task_that_was_given_another_article_meanwhile_is_of_that_one(
    world: World, first_goes: bool
) -> None:
    first, second = await world.article("First."), await world.article("Second.")
    task, other = await world.task(first, due_s=-90), await world.task(second)
    scope = await world.worker()
    (held,) = await world.claim(scope, 1)
    await world.psql.execute("UPDATE embedding_tasks SET article_id = $1 WHERE id = $2", second, task)
    if first_goes:
        await world.psql.execute("DELETE FROM articles WHERE id = $1", first)
    assert await world.complete(scope, held) == ["changed"]
    assert [await world.status(each) for each in (task, other)] == ["pending", "pending"]
    assert await world.complete(scope, await world.claim_one(scope)) == ["stored"]
    assert (await world.texts(first), await world.texts(second)) == ([], ["Second."])


async def test_a_task_that_became_a_delete_meanwhile_removes_what_is_stored(world: World) -> None:
    article = await world.article()
    await world.embed(article)
    task = await world.task(article)
    scope = await world.worker()
    held = await world.claim_one(scope)
    await world.psql.execute("UPDATE embedding_tasks SET operation = 'delete' WHERE id = $1", task)
    assert await world.complete(scope, held) == ["changed"]
    assert await world.complete(scope, await world.claim_one(scope)) == ["removed"]
    assert await world.embeddings(article) == []


async def test_a_task_of_an_article_that_no_foreign_key_held_is_completed(world: World) -> None:
    task = await world.task(await world.article())
    await world.psql.execute("SET session_replication_role = replica; DELETE FROM articles")
    scope = await world.worker()
    assert await world.complete(scope, await world.claim_one(scope)) == ["gone"]
    assert await world.status(task) == "completed"


async def test_an_article_that_the_role_may_not_see_is_not_gone(world: World) -> None:
    task, of_none = await world.task(await world.article()), await world.task(None, "delete")
    role = f"embedq_{uuid4().hex[:8]}"
    await world.psql.execute(
        f"""CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
            ALTER TABLE articles ENABLE ROW LEVEL SECURITY"""
    )
    try:
        async with open_pool(world.database.as_role(role), "embedq-test", size=2) as pool:
            theirs = replace(world, pool=pool)
            scope = await theirs.worker()
            held = {each.id: each for each in await theirs.claim(scope)}
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                await theirs.complete(scope, held[task])
            assert await theirs.complete(scope, held[of_none]) == ["gone"]
        assert await world.status(task) == "processing"
    finally:
        await world.psql.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


# -- what is wrong with a vector


@pytest.mark.pgvector
async def test_a_vector_that_cannot_be_stored_leaves_no_trace_of_its_batch(world: World) -> None:
    articles = await world.articles(3)
    await world.tasks(articles)
    scope = await world.worker()
    tasks = await world.claim(scope)
    good, bad, other = [completion_of(task) for task in tasks]
    for spoilt in ([1.0] * 7, [1.0] * 9, [float("nan")] * 8, []):
        bad = bad._replace(chunks=[replace(bad.chunks[0], vector=array("f", spoilt))])
        with pytest.raises(asyncpg.DataError):
            await world.complete(scope, good, bad, other)
        for task in tasks:
            assert await world.status(task.id) == "processing"
            assert await world.audited(task.id) == 1
        assert await world.psql.fetchval("SELECT count(*) FROM embeddings") == 0
        assert await world.psql.fetchval("SELECT count(*) FROM performance_metrics") == 0
    assert await world.complete(scope, good, other) == ["stored", "stored"]


# -- others at the same article


@BOTH_STORAGES
async def test_a_locked_article_or_task_is_reported_and_nobody_waits(world: World) -> None:
    articles = await world.articles(3)
    await world.tasks(articles)
    scope = await world.worker()
    tasks = await world.claim(scope)
    other = await world.database.connect()
    async with asyncio.timeout(5), other.transaction():
        await other.execute("UPDATE articles SET content = 'Other.' WHERE id = $1", tasks[0].article_id)
        await other.execute("SELECT FROM embedding_tasks WHERE id = $1 FOR UPDATE", tasks[1].id)
        assert await world.complete(scope, *tasks) == ["contended", "contended", "stored"]
    assert await world.complete(scope, *tasks[:2]) == ["changed", "stored"]


async def test_an_article_that_is_being_deleted_is_contended_and_then_gone(world: World) -> None:
    article = await world.article()
    await world.task(article)
    scope = await world.worker()
    held = await world.claim_one(scope)
    other = await world.database.connect()
    async with other.transaction():
        await other.execute("DELETE FROM articles")
        assert await world.complete(scope, held) == ["contended"]
    assert await world.complete(scope, held) == ["lost"]
    assert await world.embeddings(article) == []


async def test_saving_a_task_or_chunk_of_an_article_does_not_hold_up_its_completion(world: World) -> None:
    """A foreign key takes the article's key, which completion leaves alone."""
    article = await world.article()
    await world.task(article)
    scope = await world.worker()
    held = await world.claim_one(scope)
    other = await world.database.connect()
    async with other.transaction():
        await other.execute(
            "INSERT INTO embedding_tasks (article_id, operation) VALUES ($1, 'update')", article
        )
        assert await world.complete(scope, held) == ["stored"]


# -- under load


async def test_completions_and_deletions_of_the_same_articles_never_lock_each_other_out(world: World) -> None:
    dice = Random(7)
    articles = await world.articles(160, "A.\nB.\nC.")
    for priority in ("normal", "high"):
        await world.tasks(articles, priority=priority)
    ended: list[str] = []

    async def work(seed: int) -> None:
        scope = await world.worker()
        while tasks := await world.claim(scope, 12):
            Random(seed).shuffle(tasks)
            ended.extend(await world.complete(scope, *tasks))

    async def delete(numbers: list[int]) -> None:
        session = await world.database.connect()
        while numbers:
            some, numbers = numbers[:5], numbers[5:]
            await session.execute("DELETE FROM articles WHERE id = ANY ($1::int[])", some)
        await session.close()

    async def save() -> None:
        session = await world.database.connect()
        for _ in range(30):
            some = dice.sample(articles, 4)
            await session.execute(
                "UPDATE articles SET content = content || E'\nX.' WHERE id = ANY ($1::int[])", some
            )
            await session.execute(
                """INSERT INTO embedding_tasks (article_id, operation)
                   SELECT id, 'update' FROM articles WHERE id = ANY ($1::int[]) FOR KEY SHARE""",
                some,
            )
        await session.close()

    doomed = dice.sample(articles, 120)
    async with asyncio.timeout(30):
        await asyncio.gather(
            *(work(seed) for seed in range(4)), delete(doomed[:60]), delete(doomed[60:][::-1]), save()
        )
    assert ended.count("stored") > 20
    left = await world.psql.fetchval(
        "SELECT count(*) FROM embeddings WHERE article_id = ANY ($1::int[])", doomed
    )
    assert left == 0
