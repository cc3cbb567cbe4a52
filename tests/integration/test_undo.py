"""Undoing what an operator did to tasks."""

from __future__ import annotations

from uuid import uuid4

import pytest

from embedq_worker.actions.tasks import CANCEL, CANCEL_FAILED, PRIORITISE, RETRY, Action
from embedq_worker.actions.undo import undo, undoable
from embedq_worker.queue.wanted import TaskFilter
from tests.support.acting import BY, do, failed
from tests.support.queue_world import World


@pytest.mark.parametrize("action", [CANCEL, PRIORITISE["high"]], ids=["cancel", "priority"])
async def test_undo_makes_tasks_what_they_were(world: World, action: Action) -> None:
    tasks = [await world.task(await world.article(), priority=p) for p in ("low", "normal", "low", "normal")]
    await world.psql.execute(
        "UPDATE embedding_tasks SET error_message = 'before', attempts = 1 WHERE id = $1", tasks[0]
    )
    before = [dict(await world.row(task)) for task in tasks]
    outcome = await do(world, action, TaskFilter(), batch_size=3)
    assert outcome.changed == 4
    undone = await undo(world.psql, outcome.operation_id, BY, batch_size=3)
    assert (undone.changed, undone.kept) == (4, 0)
    told = (
        "SELECT count(*) FROM embedding_audit_logs WHERE operation_id = $1 AND metadata ->> 'action' = 'undo'"
    )
    assert await world.psql.fetchval(told, str(undone.operation_id))
    assert [dict(await world.row(task)) for task in tasks] == before
    assert (await undo(world.psql, outcome.operation_id, BY)).changed == 0
    assert await world.miscounted() == []


async def test_undo_gives_cancelled_failures_their_errors_again(world: World) -> None:
    tasks = await failed(world, 4, error="boom")
    await world.psql.execute("UPDATE embedding_tasks SET completed_at = NULL WHERE id = $1", tasks[1])
    before = [dict(await world.row(task)) for task in tasks]
    outcome = await do(world, CANCEL_FAILED, TaskFilter(statuses=("failed",)), batch_size=3)
    assert outcome.changed == 4
    await do(world, RETRY, TaskFilter(ids=(tasks[0],)))
    await do(world, CANCEL, TaskFilter(ids=(tasks[0],)))  # another cancellation, after it
    undone = await undo(world.psql, outcome.operation_id, BY, batch_size=3)
    assert (undone.changed, undone.kept) == (3, 1)
    assert [dict(await world.row(task)) for task in tasks[1:]] == before[1:]
    assert (await undo(world.psql, outcome.operation_id, BY)).changed == 0
    assert await world.miscounted() == []


async def test_undo_leaves_alone_what_something_happened_to(world: World) -> None:
    tasks = [await world.task(await world.article()) for _ in range(4)]
    cancelled = await do(world, CANCEL, TaskFilter())
    await do(world, RETRY, TaskFilter(ids=(tasks[0],)))
    await do(world, CANCEL, TaskFilter(ids=(tasks[0],)))
    await world.psql.execute("UPDATE embedding_tasks SET completed_at = now() WHERE id = $1", tasks[1])
    await world.psql.execute("DELETE FROM embedding_tasks WHERE id = $1", tasks[2])
    found = await undoable(world.psql, cancelled.operation_id)
    assert (found.open, found.touched) == (1, 3)
    undone = await undo(world.psql, cancelled.operation_id, BY)
    assert (undone.changed, undone.kept) == (1, 3)
    assert await world.status(tasks[3]) == "pending"
    assert (await undo(world.psql, uuid4(), BY)).changed == 0
    raised = await do(world, PRIORITISE["high"], TaskFilter(ids=(tasks[3],)))
    await world.claim(await world.worker())
    assert (await undo(world.psql, raised.operation_id, BY)).kept == 1


async def test_undo_leaves_a_removal_alone_where_the_article_was_embedded_since(world: World) -> None:
    superseded, first, last = await world.articles(3)
    removals = [await world.task(article, "delete", due_s=-90) for article in (superseded, first, last)]
    await world.task(first)
    cancelled = await do(world, CANCEL, TaskFilter())
    await world.task(last, made_s=-3600)
    await world.task(superseded)
    scope = await world.worker()
    await world.complete(scope, *await world.claim(scope))
    assert (await undoable(world.psql, cancelled.operation_id)).open == 3
    assert (await undo(world.psql, cancelled.operation_id, BY)).kept == 1
    assert [await world.status(task) for task in removals] == ["failed", "pending", "pending"]
    while tasks := await world.claim(scope):
        await world.complete(scope, *tasks)
    assert [len(await world.texts(article)) for article in (superseded, first, last)] == [1, 1, 0]


async def test_undo_waits_for_nobody_and_can_be_repeated(world: World) -> None:
    tasks = [await world.task(await world.article()) for _ in range(3)]
    cancelled = await do(world, CANCEL, TaskFilter())
    other = await world.database.connect()
    async with other.transaction():
        await other.execute("SELECT FROM embedding_tasks WHERE id = $1 FOR UPDATE", tasks[0])
        await world.psql.execute("SET lock_timeout = '10s'")
        undone = await undo(world.psql, cancelled.operation_id, BY)
    assert (undone.changed, undone.kept) == (2, 1)
    assert (await undo(world.psql, cancelled.operation_id, BY)).changed == 1
    assert {await world.status(task) for task in tasks} == {"pending"}


async def test_a_claim_that_was_cancelled_and_undone_stays_lost(world: World) -> None:
    await world.task(await world.article())
    scope = await world.worker()
    claim = await world.claim_one(scope)
    cancelled = await do(world, CANCEL, TaskFilter())
    assert (await undo(world.psql, cancelled.operation_id, BY)).changed == 1
    assert (await world.row(claim.id))["processed_at"] is None
    assert await world.complete(scope, claim) == ["lost"]
    assert (await world.claim_one(scope)).id == claim.id
