"""Suspects: tasks that were held by a worker that died are claimed alone."""

from __future__ import annotations

from uuid import UUID

import pytest

from embedq_worker.queue.claims import Scope
from tests.support.queue_world import World


async def claimed(world: World, scope: Scope) -> list[UUID]:
    return [task.id for task in await world.claim(scope)]


@pytest.mark.parametrize("operation", ["update", "delete"])
async def test_what_was_in_the_hands_of_a_dying_worker_is_claimed_alone(world: World, operation: str) -> None:
    if operation == "delete":
        await world.hold_provider()
    tasks = await world.tasks(await world.articles(6), operation=operation)
    await world.psql.execute(
        "UPDATE embedding_tasks SET crash_count = 1 WHERE id = ANY ($1::uuid[])", tasks[2:4]
    )
    sizes = []
    for _ in range(5):
        scope = await world.worker()
        batch = await world.claim(scope)
        sizes.append((len(batch), {task.id in tasks[2:4] for task in batch}))
        await world.complete(scope, *batch)
    assert sorted(sizes[:3]) == [(1, {True}), (1, {True}), (4, {False})]
    assert sizes[3:] == [(0, set()), (0, set())]


async def test_a_worker_that_holds_a_suspect_holds_nothing_else(world: World) -> None:
    ordinary, suspect, later = [
        await world.task(article, due_s=due)
        for article, due in zip(await world.articles(3), (-90, -60, -30), strict=True)
    ]
    await world.psql.execute("UPDATE embedding_tasks SET crash_count = 1 WHERE id = $1", suspect)
    scope = await world.worker()
    first = await world.claim(scope, 1)
    assert [task.id for task in first] == [ordinary]
    assert await claimed(world, scope) == [], "it would take the suspect beside what it holds"
    await world.complete(scope, *first)
    second = await world.claim(scope)
    assert [task.id for task in second] == [suspect]
    assert await claimed(world, scope) == [], "it would take others beside the suspect"
    assert await claimed(world, await world.worker()) == [later]
    await world.complete(scope, *second)


@pytest.mark.parametrize(
    "loss",
    ["status = 'failed', error_message = 'Cancelled by administrator'", "processed_at = now()"],
    ids=["cancelled", "claimed by another program"],
)
async def test_a_suspect_that_was_taken_from_a_worker_holds_it_up_no_longer(world: World, loss: str) -> None:
    suspect, other = [
        await world.task(article, due_s=due)
        for article, due in zip(await world.articles(2), (-90, -60), strict=True)
    ]
    await world.psql.execute("UPDATE embedding_tasks SET crash_count = 1 WHERE id = $1", suspect)
    scope = await world.worker()
    assert await claimed(world, scope) == [suspect]
    await world.psql.execute(f"UPDATE embedding_tasks SET {loss} WHERE id = $1", suspect)
    assert await claimed(world, scope) == [other]


async def test_what_others_hold_keeps_no_suspect_from_a_worker(world: World) -> None:
    await world.task(await world.article())
    await world.claim_one(await world.worker())
    suspect = await world.task(await world.article())
    await world.psql.execute("UPDATE embedding_tasks SET crash_count = 1 WHERE id = $1", suspect)
    assert await claimed(world, await world.worker()) == [suspect]


async def test_what_another_program_took_from_a_worker_keeps_no_suspect_from_it(world: World) -> None:
    ordinary, suspect = [
        await world.task(article, due_s=due)
        for article, due in zip(await world.articles(2), (-90, -60), strict=True)
    ]
    await world.psql.execute("UPDATE embedding_tasks SET crash_count = 1 WHERE id = $1", suspect)
    scope = await world.worker()
    assert [task.id for task in await world.claim(scope, 1)] == [ordinary]
    await world.psql.execute("UPDATE embedding_tasks SET processed_at = now() WHERE id = $1", ordinary)
    assert await claimed(world, scope) == [suspect]


async def test_a_suspect_that_a_worker_has_survived_is_claimed_with_others(world: World) -> None:
    suspect = await world.task(await world.article())
    await world.psql.execute("UPDATE embedding_tasks SET crash_count = 1")
    scope = await world.worker()
    held = await world.claim_one(scope)
    await world.psql.execute("UPDATE articles SET content = 'Other.'")
    assert await world.complete(scope, held) == ["changed"]
    other = await world.task(await world.article())
    assert sorted(await claimed(world, scope)) == sorted([suspect, other])
