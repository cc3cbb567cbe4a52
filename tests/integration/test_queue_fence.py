"""The fence: a worker that lost its claim can write nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from embedq_worker.queue import fleet
from embedq_worker.queue.claims import ReturnKind, Scope
from tests.support.queue_world import BOTH_STORAGES, RESET, World

Loss = Callable[[World, UUID], Awaitable[object]]


async def reset(world: World, task: UUID) -> None:
    await world.psql.execute("UPDATE embedding_tasks SET processed_at = processed_at - interval '1 hour'")
    await world.psql.execute(RESET)


async def aged(world: World, task: UUID) -> None:
    await world.psql.execute("UPDATE embedding_tasks SET processed_at = processed_at - interval '1 us'")


async def reset_and_claimed_by_another_of_ours(world: World, task: UUID) -> None:
    await reset(world, task)
    assert (await world.claim_one(await world.worker())).id == task


async def reset_and_claimed_by_a_foreign_worker(world: World, task: UUID) -> None:
    """It knows nothing of our columns."""
    await reset(world, task)
    await world.psql.execute(
        """UPDATE embedding_tasks SET status = 'processing', processed_at = now()
           WHERE id = (SELECT id FROM embedding_tasks WHERE status = 'pending'
                       LIMIT 1 FOR UPDATE SKIP LOCKED)"""
    )


async def cancelled(world: World, task: UUID) -> None:
    await world.psql.execute(
        "UPDATE embedding_tasks SET status='failed', error_message='Cancelled by administrator'"
    )


async def completed_by_another(world: World, task: UUID) -> None:
    await world.psql.execute("UPDATE embedding_tasks SET status = 'completed', completed_at = now()")


async def deleted(world: World, task: UUID) -> None:
    await world.psql.execute("DELETE FROM embedding_tasks")


async def truncated(world: World, task: UUID) -> None:
    await world.psql.execute("TRUNCATE embedding_tasks")


async def deleted_with_its_article(world: World, task: UUID) -> None:
    await world.psql.execute("DELETE FROM articles")


async def rescued(world: World, task: UUID) -> None:
    await world.psql.execute("UPDATE embedq_workers SET state = 'dead'")
    assert len(await world.rescue()) == 1


async def rescued_and_claimed_again_by_the_same_worker(world: World, task: UUID) -> None:
    worker = await world.psql.fetchval("SELECT worker_id FROM embedding_tasks")
    await fleet.disown(world.pool, worker, [], older_s=0)
    (again,) = await world.claim(Scope(worker, "p", "m"))
    assert again.id == task


LOSSES = [
    reset,
    aged,
    reset_and_claimed_by_another_of_ours,
    reset_and_claimed_by_a_foreign_worker,
    cancelled,
    completed_by_another,
    deleted,
    truncated,
    deleted_with_its_article,
    rescued,
    rescued_and_claimed_again_by_the_same_worker,
]


async def everything(world: World) -> list[object]:
    """All that a late write could change."""
    return [
        await world.psql.fetch(f"SELECT * FROM {table} ORDER BY 1, 2")
        for table in ("embedding_tasks", "embeddings", "embedq_articles", "embedq_live_counts", "articles")
    ]


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
async def test_after_losing_its_claim_a_worker_writes_nothing(world: World, lose: Loss) -> None:
    article = await world.article("One.\nTwo.")
    await world.embed(article)
    await world.psql.execute("DELETE FROM embedding_tasks; UPDATE articles SET content = 'One.\nThree.'")
    task = await world.task(article)
    scope = await world.worker()
    held = await world.claim_one(scope)
    await lose(world, task)
    before = await everything(world)
    audited = await world.audited(task)
    assert await world.complete(scope, held) == ["lost"]
    for kind in ReturnKind:
        assert await world.give_back(scope, held, kind=kind) == ["lost"]
    assert await everything(world) == before
    assert await world.audited(task) == audited


@BOTH_STORAGES
async def test_what_is_still_held_is_stored_beside_what_is_lost(world: World) -> None:
    articles = await world.articles(4, "A.\nB.")
    await world.tasks(articles)
    scope = await world.worker()
    await world.complete(scope, *await world.claim(scope))
    await world.psql.execute("UPDATE articles SET content = 'B.'")
    await world.tasks(articles)
    tasks = await world.claim(scope)
    await world.psql.execute("UPDATE embedding_tasks SET status = 'failed' WHERE id = $1", tasks[1].id)
    await world.psql.execute("DELETE FROM embedding_tasks WHERE id = $1", tasks[2].id)
    assert await world.complete(scope, *tasks) == ["stored", "lost", "lost", "stored"]
    stored = [await world.texts(task.article_id or 0) for task in tasks]
    assert stored == [["B."], ["A.", "B."], ["A.", "B."], ["B."]]
    recorded = await world.psql.fetch("SELECT chunks FROM embedq_articles")
    assert sorted(row["chunks"] for row in recorded) == [1, 1, 2, 2]


async def test_a_completion_counts_once_however_often_it_is_sent(world: World) -> None:
    """As after an answer that was lost with the connection."""
    await world.task(await world.article())
    scope = await world.worker()
    held = await world.claim_one(scope)
    assert await world.complete(scope, held) == ["stored"]
    before = await everything(world)
    assert await world.complete(scope, held) == ["lost"]
    assert await world.give_back(scope, held) == ["lost"]
    assert await everything(world) == before


async def test_another_worker_cannot_use_the_claim(world: World) -> None:
    await world.task(await world.article())
    scope, other = await world.worker(), await world.worker()
    held = await world.claim_one(scope)
    assert await world.complete(other, held) == ["lost"]
    assert await world.give_back(other, held) == ["lost"]
    assert await world.complete(scope, held) == ["stored"]


async def test_claims_of_the_same_instant_are_told_apart(world: World) -> None:
    """As after the clock of the server was set back."""
    task = await world.task(await world.article())
    scope = await world.worker()
    first = await world.claim_one(scope)
    assert await world.give_back(scope, first, kind=ReturnKind.RELEASE) == ["requeued"]
    second = await world.claim_one(scope)
    await world.psql.execute(
        "UPDATE embedding_tasks SET processed_at = $2, claimed_at = $2 WHERE id = $1", task, first.claimed_at
    )
    assert await world.complete(scope, first) == ["lost"]
    assert await world.give_back(scope, first) == ["lost"]
    assert await world.complete(scope, second._replace(claimed_at=first.claimed_at)) == ["stored"]
