"""Claims: who gets which tasks, and when nobody gets any."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from embedq_worker.actions import orders
from embedq_worker.actions.orders import Order
from embedq_worker.queue import claims, fleet
from embedq_worker.queue.claims import ClaimedTask, Place, Scope
from tests.support.queue_world import World, completion_of, waiters


async def claimed(world: World, scope: Scope, limit: int = 100) -> list[UUID]:
    return [task.id for task in await world.claim(scope, limit)]


async def every_way(world: World) -> AsyncIterator[dict[str, Any]]:
    """Tasks for each branch of the claim: by priority, and deletes while the provider is held."""
    for priority in ("high", "normal", "low"):
        yield {"priority": priority}
    await world.hold_provider()
    yield {"operation": "delete"}


# -- order


async def test_high_comes_before_normal_before_low(world: World) -> None:
    articles = await world.articles(6)
    priorities = ["low", "normal", "high", "low", "normal", "high"]
    ids = [
        await world.task(article, priority=priority, due_s=-60 + place)
        for place, (article, priority) in enumerate(zip(articles, priorities, strict=True))
    ]
    expected = [ids[place] for place in (2, 5, 1, 4, 0, 3)]
    assert await claimed(world, await world.worker()) == expected


async def test_within_a_priority_the_longest_due_comes_first_and_one_by_one_too(world: World) -> None:
    articles = await world.articles(40)
    due = {
        await world.task(article, due_s=-1 - (place * 7 % 40)): place * 7 % 40
        for place, article in enumerate(articles)
    }
    scope = await world.worker()
    seen: list[UUID] = []
    for limit in (1, 5, 2, 100):
        seen += await claimed(world, scope, limit)
    assert [due[task] for task in seen] == sorted(due.values(), reverse=True)


async def test_a_claim_in_a_well_filled_and_analyzed_table_keeps_the_order(world: World) -> None:
    await world.psql.execute(
        """INSERT INTO articles (title, slug) SELECT 'T', 's' || n FROM generate_series(1, 3000) n;
           INSERT INTO embedding_tasks (article_id, operation, priority, scheduled_at)
           SELECT id, 'update', (ARRAY['high', 'normal', 'low'])[1 + id % 3], now() - id * interval '1 second'
           FROM articles;
           ANALYZE"""
    )
    scope = await world.worker()
    for limit in (1000, 7, 1, 1000):
        tasks = await world.claim(scope, limit)
        assert len(tasks) == limit
        rows = {row["id"]: row["scheduled_at"] for row in await world.psql.fetch("TABLE embedding_tasks")}
        rank = {"high": 0, "normal": 1, "low": 2}
        order = [(rank[task.priority], rows[task.id]) for task in tasks]
        assert order == sorted(order)


async def test_nothing_is_claimed_before_it_is_due_by_the_clock_of_the_database(world: World) -> None:
    scope = await world.worker()
    async for way in every_way(world):
        soon, later = await world.tasks(await world.articles(2), due_s=3600, **way)
        assert await claimed(world, scope) == [], way
        await world.psql.execute("UPDATE embedding_tasks SET scheduled_at = now() WHERE id = $1", soon)
        assert await claimed(world, scope) == [soon]
        assert await world.status(later) == "pending"


async def test_a_claim_may_begin_at_a_place_of_each_priority(world: World) -> None:
    tasks = {
        name: await world.tasks(await world.articles(2), priority=name) for name in ("high", "normal", "low")
    }
    due = await world.psql.fetchval("UPDATE embedding_tasks SET scheduled_at = now() RETURNING scheduled_at")
    places = [Place(due, max(ids)) for ids in tasks.values()]
    found = await claims.claim(world.pool, await world.worker(), 100, places)
    assert [task.id for task in found] == [place.id for place in places]


# -- limits


@pytest.mark.parametrize("limit", [1, 3, 10, 11])
async def test_never_more_than_asked_for(world: World, limit: int) -> None:
    for priority in ("high", "normal", "low"):
        await world.tasks(await world.articles(4), priority=priority)
    tasks = await claimed(world, await world.worker(), limit)
    assert len(tasks) == limit
    assert (
        await world.psql.fetchval("SELECT count(*) FROM embedding_tasks WHERE status = 'processing'") == limit
    )


@pytest.mark.parametrize("own", [("high",), ("normal",), ("low",), ("high", "low")])
async def test_a_worker_of_some_priorities_takes_no_others(world: World, own: tuple[str, ...]) -> None:
    tasks = {
        name: await world.task(await world.article(), priority=name) for name in ("high", "normal", "low")
    }
    assert await claimed(world, await world.worker(priorities=own)) == [tasks[name] for name in own]


async def test_a_folder_includes_those_below_it_and_no_neighbour(world: World) -> None:
    folders = ["a", "/a/b/", "a/b/c", "ab", "/b", "", "a%b", "A"]
    tasks = {folder: await world.task(await world.article(folder=folder)) for folder in folders}
    await world.task(None, "delete")
    mine = await claimed(world, await world.worker(folders=("a", "a%")))
    assert sorted(mine) == sorted(tasks[folder] for folder in ("a", "/a/b/", "a/b/c"))
    rest = await claimed(world, await world.worker(folders=("b", "ab")))
    assert sorted(rest) == sorted(tasks[folder] for folder in ("/b", "ab"))


async def test_a_worker_of_a_folder_takes_nothing_else_of_any_kind(world: World) -> None:
    mine, others = [await world.article(folder=folder) for folder in ("a", "b")]
    scope = await world.worker(folders=("a",))
    async for way in every_way(world):
        task, _ = [await world.task(article, **way) for article in (mine, others)]
        assert await claimed(world, scope) == [task], way
        await world.psql.execute("DELETE FROM embedding_tasks")


# -- one article, one hand


async def test_of_several_tasks_of_an_article_one_is_claimed_the_most_urgent(world: World) -> None:
    article = await world.article()
    low = await world.task(article, priority="low", due_s=-100)
    high = await world.task(article, priority="high")
    other = await world.task(await world.article())
    scope, second = await world.worker(), await world.worker()
    assert await claimed(world, scope) == [high, other]
    assert await claimed(world, second) == []
    assert await world.status(low) == "pending"


async def test_an_article_in_the_hands_of_a_foreign_worker_is_left_alone(world: World) -> None:
    article = await world.article()
    first, second = [await world.task(article, due_s=due) for due in (-60, -30)]
    await world.psql.execute(
        "UPDATE embedding_tasks SET status = 'processing', processed_at = now() WHERE id = $1", first
    )
    assert await claimed(world, await world.worker()) == []
    await world.psql.execute("UPDATE embedding_tasks SET status = 'completed' WHERE id = $1", first)
    assert await claimed(world, await world.worker()) == [second]


async def test_an_article_that_is_taken_while_a_claim_looks_around_is_left_alone(world: World) -> None:
    article = await world.article(folder="a")
    first, _second = [await world.task(article, due_s=due) for due in (-60, -30)]
    scope = await world.worker(folders=("a",))
    async with world.psql.transaction():
        await world.psql.execute("LOCK TABLE articles IN ACCESS EXCLUSIVE MODE")
        claim = asyncio.create_task(claimed(world, scope))
        await waiters(world, 1)
        await world.psql.execute(
            "UPDATE embedding_tasks SET status = 'processing', processed_at = now() WHERE id = $1", first
        )
    assert await claim == []


async def test_tasks_of_an_article_in_hand_do_not_hide_those_behind_them(world: World) -> None:
    busy, free = await world.articles(2)
    scope = await world.worker()
    async for way in every_way(world):
        await world.task(busy, due_s=-120, **way)
        assert len(await claimed(world, scope)) == 1
        await world.task(busy, due_s=-90, **way)
        task = await world.task(free, **way)
        assert await claimed(world, scope, 1) == [task], way
        await world.psql.execute("DELETE FROM embedding_tasks")


async def test_many_claimers_never_share_a_task_or_an_article(world: World) -> None:
    articles = await world.articles(150)
    for priority in ("low", "high", "normal"):
        await world.tasks(articles, priority=priority)
    held: Counter[int | None] = Counter()
    tasks: Counter[UUID] = Counter()

    async def work(limit: int) -> None:
        scope = await world.worker()
        empty = 0
        while empty < 5:
            batch = await world.claim(scope, limit)
            empty = 0 if batch else empty + 1
            await settle(scope, batch)

    async def settle(scope: Scope, batch: list[ClaimedTask]) -> None:
        held.update(task.article_id for task in batch)
        tasks.update(task.id for task in batch)
        assert max(held.values(), default=0) <= 1, "one article in two hands"
        await asyncio.sleep(0)
        held.subtract(task.article_id for task in batch)
        if batch:
            outcomes = await world.complete(scope, *batch)
            assert set(outcomes) <= {"stored", "contended"}
            left = [task for task, outcome in zip(batch, outcomes, strict=True) if outcome == "contended"]
            if left:
                await world.give_back(scope, *left, kind=claims.ReturnKind.RELEASE)

    await asyncio.gather(*(work(limit) for limit in (1, 2, 3, 5, 8, 13, 21, 34)))
    done = await world.psql.fetchval("SELECT count(*) FROM embedding_tasks WHERE status = 'completed'")
    assert done == 450
    assert await world.psql.fetchval("SELECT count(*) FROM embedq_articles") == 150


async def test_what_another_session_has_locked_is_passed_by(world: World) -> None:
    other = await world.database.connect()
    async for way in every_way(world):
        first, second = await world.tasks(await world.articles(2), **way)
        async with other.transaction():
            await other.execute("SELECT FROM embedding_tasks WHERE id = $1 FOR UPDATE", first)
            async with asyncio.timeout(2):
                assert await claimed(world, await world.worker()) == [second]
        await world.psql.execute("DELETE FROM embedding_tasks")
    await other.close()


# -- nobody claims


async def test_is_running_false_in_psql_stops_every_claim_and_true_lets_it_go_on(world: World) -> None:
    await world.task(await world.article())
    scope = await world.worker()
    await world.psql.execute("UPDATE embedding_worker_status SET is_running = false")
    assert await claimed(world, scope) == []
    await world.psql.execute("UPDATE embedding_worker_status SET is_running = false")  # said twice
    late = await world.worker()
    assert await claimed(world, late) == []
    beat = await fleet.beat(
        world.pool, late.worker, state="running", note="", in_hand=0, succeeded=0, failed=0
    )
    assert beat.block == "stopped"
    assert not await world.psql.fetchval("SELECT is_running FROM embedding_worker_status")
    await world.psql.execute("UPDATE embedding_worker_status SET is_running = true WHERE id = 1")
    assert len(await claimed(world, scope)) == 1


@pytest.mark.parametrize("running", [True, False])
async def test_what_a_program_says_of_itself_neither_stops_nor_starts_others(
    world: World, running: bool
) -> None:
    await world.task(await world.article())
    scope = await world.worker()
    said = [
        f"is_running = {running}, last_heartbeat = now()",
        f"is_running = {running}, last_heartbeat = now(), started_at = now()",
        "tasks_processed = tasks_processed + 1, tasks_failed = tasks_failed + 1",
        "tasks_succeeded = 0, tasks_failed = 0",
        "last_heartbeat = now()",
    ]
    if running:
        await world.psql.execute("UPDATE embedding_worker_status SET is_running = false")
    for values in said:
        await world.psql.execute(f"UPDATE embedding_worker_status SET {values} WHERE id = 1")
        assert await world.psql.fetchval("SELECT stopped_at IS NOT NULL FROM embedq_control") is running
    assert bool(await claimed(world, scope)) is not running


async def test_pause_and_stop_are_two_things(world: World) -> None:
    await world.task(await world.article())
    scope = await world.worker()
    for order in (Order.PAUSE, Order.STOP, Order.START):
        await orders.command(world.psql, order, "me@here")
        assert await claimed(world, scope) == []
    await orders.command(world.psql, Order.RESUME, "me@here")
    assert len(await claimed(world, scope)) == 1
    assert (
        await world.psql.fetchval("SELECT count(*) FROM embedding_audit_logs WHERE metadata ? 'operator'")
        == 4
    )


@pytest.mark.parametrize("state", ["open", "cooling"])
async def test_while_the_provider_is_held_only_deletes_are_claimed(world: World, state: str) -> None:
    update, delete = (
        await world.task(await world.article()),
        await world.task(await world.article(), "delete"),
    )
    foreign = await world.task(await world.article(), "delete", "low", due_s=-100)
    scope = await world.worker()
    await world.hold_provider(state)
    assert await claimed(world, await world.worker(priorities=("high", "normal"))) == [delete]
    assert await claimed(world, scope) == [foreign]
    assert await claimed(world, scope) == []
    other = Scope(uuid4(), "another provider", "another/model")
    assert await claimed(world, other) == [update]


async def test_patience_that_is_over_holds_nobody(world: World) -> None:
    task = await world.task(await world.article())
    await world.hold_provider("cooling", seconds=-1)
    assert await claimed(world, await world.worker()) == [task]


# -- what a claim brings


async def test_the_text_comes_with_the_claim_however_late_it_was_committed(world: World) -> None:
    """The claim waits in the middle, while an article and its task are committed."""
    scope = await world.worker()
    edited = await world.article("Old.")
    writer = await world.database.connect()
    writing = writer.transaction()
    await writing.start()
    assert await writer.fetchval("SELECT now()")
    async with world.psql.transaction():
        await world.psql.execute("LOCK TABLE embedq_control IN ACCESS EXCLUSIVE MODE")
        claim = asyncio.create_task(world.claim(scope))
        await waiters(world, 1)
        await writer.execute("UPDATE articles SET content = 'New.' WHERE id = $1", edited)
        await writer.execute(
            """WITH made AS (INSERT INTO articles (title, slug, content) VALUES ('T', 'made', 'New.')
                             RETURNING id)
               INSERT INTO embedding_tasks (article_id, operation)
               SELECT id, 'create' FROM made UNION ALL SELECT $1, 'update'""",
            edited,
        )
        await writing.commit()
    tasks = await claim
    assert [task.article and task.article.content for task in tasks] == ["New.", "New."]
    assert await world.complete(scope, *tasks) == ["stored", "stored"]


async def test_a_claim_brings_the_article_and_the_hashes_of_our_model(world: World) -> None:
    article = await world.article("First.\nSecond.", folder="a")
    await world.embed(article)
    await world.psql.execute("UPDATE embeddings SET model = NULL WHERE chunk_index = 1")
    await world.task(article)
    task = await world.claim_one(await world.worker())
    assert task.article is not None
    assert (task.article.content, task.article.no_rag) == ("First.\nSecond.", False)
    assert task.article.hashes == {completion_of(task).chunks[0].content_hash}
    assert (task.attempts, task.operation) == (0, "update")
    assert task.claimed_at - task.scheduled_at > timedelta(seconds=59)


async def test_a_claim_forgets_the_end_that_another_programs_retry_left(world: World) -> None:
    task = await world.task(await world.article())
    await world.psql.execute("UPDATE embedding_tasks SET status = 'failed', completed_at = now()")
    await world.psql.execute("UPDATE embedding_tasks SET status = 'pending'")
    await world.claim_one(await world.worker())
    row = await world.row(task)
    assert (row["status"], row["completed_at"]) == ("processing", None)


async def test_a_task_without_an_article_is_claimed_too(world: World) -> None:
    ids = [await world.task(None, operation) for operation in ("delete", "update")]
    scope = await world.worker()
    tasks = await world.claim(scope)
    assert sorted(task.id for task in tasks) == sorted(ids)
    assert await world.complete(scope, *tasks) == ["gone", "gone"]
    assert [await world.audited(task) for task in ids] == [2, 2]
