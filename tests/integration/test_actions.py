"""What an operator does to tasks: how they are afterwards, and what the audit log keeps."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from embedq_worker.actions.left_out import left_out
from embedq_worker.actions.tasks import (
    CANCEL,
    CANCEL_FAILED,
    PRIORITISE,
    RELEASE,
    RETRY,
    RETRY_NEXT,
    RETRY_WAITING,
    Outcome,
    Run,
    carry_out,
    plan,
)
from embedq_worker.actions.undo import undo
from embedq_worker.database.connections import connect
from embedq_worker.insights.overview import overview
from embedq_worker.queue.wanted import Stuck, TaskFilter
from embedq_worker.schema.task_values import CANCELLED
from tests.support.acting import BY, do, failed
from tests.support.blocking import until_blocked
from tests.support.queue_world import World
from tests.support.sessions import doom


async def audit(world: World, operation: UUID, *, of_tasks: bool) -> list[asyncpg.Record]:
    """Rows of an operation, about tasks or about batches, in order."""
    return await world.psql.fetch(
        """SELECT *, metadata ->> 'count' AS n FROM embedding_audit_logs
           WHERE operation_id = $1 AND (task_id IS NOT NULL) = $2 ORDER BY timestamp, id""",
        str(operation),
        of_tasks,
    )


# -- what each action does


async def test_a_retried_task_starts_afresh(world: World) -> None:
    [task] = await failed(world)
    outcome = await do(world, RETRY, TaskFilter(ids=(task,)))
    assert (outcome.changed, outcome.ids) == (1, [task])
    row = await world.row(task)
    assert (row["status"], row["attempts"]) == ("pending", 0)
    for column in ("processed_at", "completed_at", "error_message", "crash_count", "worker_id"):
        assert row[column] is None, column
    claimed = await world.claim_one(await world.worker())
    assert claimed.id == task
    assert await world.miscounted() == []


async def test_a_task_that_waits_for_its_next_attempt_need_not_wait(world: World) -> None:
    waiting, due, ended = [await world.task(await world.article(), due_s=due) for due in (3600, -60, 3600)]
    await world.psql.execute(
        "UPDATE embedding_tasks SET attempts = 2, error_message = 'boom' WHERE id = $1", waiting
    )
    await world.psql.execute("UPDATE embedding_tasks SET status = 'failed' WHERE id = $1", ended)
    assert (await do(world, RETRY_WAITING, TaskFilter(error="boom"))).ids == [waiting]
    row = await world.row(waiting)
    assert (row["status"], row["attempts"], row["error_message"]) == ("pending", 0, None)
    assert {task.id for task in await world.claim(await world.worker())} == {waiting, due}
    planned = await plan(world.psql, RETRY_WAITING, TaskFilter(ids=(ended,)))
    [missed] = await left_out(world.psql, planned, Outcome())
    assert missed.reason == "failed"


async def test_of_waiting_tasks_all_are_retried_in_batches_and_the_others_are_left_alone(
    world: World,
) -> None:
    article = await world.article()
    waiting = {await world.task(article, due_s=3600 + number, priority="low") for number in range(7)}
    due = await world.task(article)
    named = await plan(world.psql, RETRY_WAITING, TaskFilter(ids=(due,)))
    assert [one.reason for one in await left_out(world.psql, named, Outcome())] == ["already"]
    outcome = await do(world, RETRY_WAITING, TaskFilter(), batch_size=2)
    assert (set(outcome.ids), outcome.batches) == (waiting, 4)
    assert await world.miscounted() == []


async def test_what_was_named_in_vain_is_told(world: World) -> None:
    [task] = await failed(world)
    waiting, unknown = await world.task(await world.article()), uuid4()
    [stale] = await failed(world, operation="delete", made_s=-100)
    article = await world.psql.fetchval("SELECT article_id FROM embedding_tasks WHERE id = $1", stale)
    await world.task(article)
    [busy] = await failed(world)
    again = await world.psql.fetchval("SELECT article_id FROM embedding_tasks WHERE id = $1", task)
    await world.task(again)  # undoes nothing
    planned = await plan(world.psql, RETRY, TaskFilter(ids=(task, waiting, unknown, stale, busy)))
    other = await world.database.connect()
    async with other.transaction():
        await other.execute("SELECT FROM embedding_tasks WHERE id = $1 FOR UPDATE", busy)
        outcome = await carry_out(Run(world.psql, planned, BY))
    assert outcome.ids == [task]
    assert [(one.id, one.reason) for one in await left_out(world.psql, planned, outcome)] == [
        (waiting, "pending"),
        (unknown, "unknown"),
        (stale, "superseded"),
        (busy, "busy"),
    ]


async def test_a_removal_that_failed_is_retried_unless_something_came_after_it(world: World) -> None:
    [removal] = await failed(world, operation="delete")
    article = await world.psql.fetchval("SELECT article_id FROM embedding_tasks WHERE id = $1", removal)
    await world.task(article, made_s=-3600)
    planned = await plan(world.psql, RETRY, TaskFilter(ids=(removal,)))
    assert (await carry_out(Run(world.psql, planned, BY))).ids == [removal]


async def test_a_removal_of_the_same_transaction_as_an_update_is_not_retried(world: World) -> None:
    [removal] = await failed(world, operation="delete")
    await world.psql.execute(
        """INSERT INTO embedding_tasks (article_id, operation, created_at)
           SELECT article_id, 'update', created_at FROM embedding_tasks"""
    )
    assert (await plan(world.psql, RETRY, TaskFilter(ids=(removal,)))).matched == 0


async def test_a_task_that_is_as_it_was_to_be_is_told_as_such(world: World) -> None:
    task = await world.task(await world.article(), priority="high")
    planned = await plan(world.psql, PRIORITISE["high"], TaskFilter(ids=(task,)))
    assert planned.matched == 0
    assert [one.reason for one in await left_out(world.psql, planned, Outcome())] == ["already"]


async def test_what_somebody_held_for_a_moment_only_is_not_left_out(world: World) -> None:
    tasks = await failed(world, 20)
    holder = await world.database.connect()
    await holder.execute("BEGIN")
    await holder.execute("SELECT FROM embedding_tasks WHERE id = $1 FOR UPDATE", tasks[0])
    freed: list[asyncio.Task[str]] = []

    def reached(changed: int) -> None:
        if not freed:
            freed.append(asyncio.create_task(holder.execute("ROLLBACK")))

    outcome = await do(world, RETRY, TaskFilter(error="boom"), batch_size=1, progress=reached)
    assert set(outcome.ids) == set(tasks)


async def test_a_task_that_is_none_of_those_meant_any_more_is_not_called_busy(world: World) -> None:
    held = await world.task(await world.article())
    await world.claim_one(scope := await world.worker())
    stuck = TaskFilter(ids=(held,), stuck=Stuck(older_s=1_800, silent_s=45))
    planned = await plan(world.psql, RELEASE, stuck)
    assert [one.reason for one in await left_out(world.psql, planned, Outcome())] == ["changed"]
    await world.die(scope)
    assert (await do(world, RELEASE, stuck)).ids == [held]


async def test_a_cancelled_task_in_hand_takes_no_late_write(world: World) -> None:
    waiting = await world.task(await world.article(), due_s=3_600)
    held = await world.task(article := await world.article())
    scope = await world.worker()
    claim = await world.claim_one(scope)
    assert claim.id == held
    outcome = await do(world, CANCEL, TaskFilter(ids=(waiting, held)))
    assert outcome.changed == 2
    for task in (waiting, held):
        row = await world.row(task)
        assert (row["status"], row["error_message"]) == ("failed", CANCELLED)
        assert row["completed_at"] is not None
    assert await world.complete(scope, claim) == ["lost"]
    assert await world.embeddings(article) == []


async def test_claims_of_anybody_are_taken_back_by_their_age(world: World) -> None:
    scope = await world.worker()
    held = [await world.task(await world.article()) for _ in range(3)]
    claims = await world.claim(scope)
    await world.psql.execute(
        "UPDATE embedding_tasks SET processed_at = now() - interval '31 m' WHERE id = $1", held[0]
    )
    await world.psql.execute(
        """UPDATE embedding_tasks SET processed_at = NULL, worker_id = NULL,
                  created_at = now() - interval '1 h'
           WHERE id = $1""",
        held[1],
    )
    outcome = await do(world, RELEASE, TaskFilter(until=timedelta(minutes=30)))
    assert sorted(outcome.ids) == sorted(held[:2])
    row = await world.row(held[0])
    assert (row["status"], row["processed_at"], row["attempts"]) == ("pending", None, 0)
    by_id = {claim.id: claim for claim in claims}
    assert await world.complete(scope, by_id[held[0]]) == ["lost"]
    assert await world.complete(scope, by_id[held[2]]) == ["stored"]


async def test_a_priority_changes_where_it_differs(world: World) -> None:
    tasks = [
        await world.task(await world.article(), priority=priority) for priority in ("low", "high", "normal")
    ]
    outcome = await do(world, PRIORITISE["high"], TaskFilter())
    assert sorted(outcome.ids) == sorted([tasks[0], tasks[2]])
    assert {(await world.row(task))["priority"] for task in tasks} == {"high"}
    assert await world.miscounted() == []


# -- any number, in batches


async def test_batches_leave_one_row_each_and_a_summary(world: World) -> None:
    tasks = await failed(world, 25)
    seen: list[int] = []
    outcome = await do(world, RETRY, TaskFilter(error="BOOM"), batch_size=10, progress=seen.append)
    assert (outcome.changed, outcome.batches) == (25, 3)
    assert seen == [10, 20, 25]
    rows = await audit(world, outcome.operation_id, of_tasks=False)
    assert [row["n"] for row in rows] == ["10", "10", "5", "25"]
    assert {row["category"] for row in rows} == {"bulk_operations"}
    for row in rows:
        document = json.loads(row["metadata"])
        assert (document["operator"], document["host"], document["action"]) == ("ann", "ops", "retry")
        assert document["filter"] == {"statuses": ["failed"], "error": "BOOM"}
    told = await audit(world, outcome.operation_id, of_tasks=True)
    assert sorted(row["task_id"] for row in told) == sorted(tasks)


async def test_a_second_run_does_the_rest(world: World) -> None:
    tasks = await failed(world, 12)
    planned = await plan(world.psql, RETRY, TaskFilter())
    run = Run(world.psql, planned, BY, batch_size=5)
    assert (await carry_out(run, limit=4)).changed == 4
    assert [await world.status(task) for task in tasks[:5]] == ["pending"] * 4 + [
        "failed"
    ]  # the oldest first
    assert (await carry_out(run, limit=5)).changed == 9
    await failed(world, 5)  # never counted, and so never asked about
    assert (await carry_out(run, limit=100)).changed == 12
    assert (await do(world, RETRY, TaskFilter())).changed == 5


async def test_an_interruption_ends_with_a_whole_batch(world: World) -> None:
    await failed(world, 30)
    planned = await plan(world.psql, RETRY, TaskFilter())
    session = await world.database.connect()
    reached: list[int] = []
    run = Run(session, planned, BY, batch_size=10, progress=reached.append)
    await world.psql.execute(
        """CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NEW; END';
           CREATE TRIGGER hold BEFORE UPDATE ON embedding_tasks FOR EACH ROW EXECUTE FUNCTION hold()"""
    )
    blocker = await world.database.connect()
    async with blocker.transaction():
        await blocker.execute("SELECT pg_advisory_xact_lock(42)")  # the first task waits here
        work = asyncio.ensure_future(carry_out(run))
        await until_blocked(world.psql, session)
        work.cancel()
        await asyncio.sleep(0)
        assert not work.done()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert (run.outcome.changed, reached) == (10, [10])
    assert await world.psql.fetchval("SELECT count(*) FROM embedding_tasks WHERE status = 'pending'") == 10
    *_, summary = await audit(world, run.outcome.operation_id, of_tasks=False)
    assert json.loads(summary["metadata"])["state"] == "interrupted"
    assert (await do(world, RETRY, TaskFilter())).changed == 20


async def test_a_connection_that_is_lost_on_the_way_is_what_is_told(world: World) -> None:
    await failed(world, 30)
    await doom(world.psql, "UPDATE", "embedding_tasks", spared=2)  # of those without an end there are none
    session = await connect(world.database.settings)
    run = Run(session, await plan(session, RETRY, TaskFilter()), BY, batch_size=10)
    with pytest.raises(asyncpg.PostgresError):  # not the InterfaceError of who asks it once more
        await carry_out(run)
    assert run.outcome.changed == 10


async def test_what_others_hold_is_passed_by(world: World) -> None:
    tasks = await failed(world, 6)
    other = await world.database.connect()
    async with other.transaction():
        await other.execute("SELECT FROM embedding_tasks WHERE id = ANY ($1::uuid[]) FOR UPDATE", tasks[:2])
        outcome = await do(world, RETRY, TaskFilter(), batch_size=2)
    assert outcome.changed == 4
    assert (await do(world, RETRY, TaskFilter())).changed == 2


async def test_what_fails_again_meanwhile_is_not_retried_again(world: World) -> None:
    await failed(world, 4)
    planned = await plan(world.psql, RETRY, TaskFilter())
    await world.psql.execute(
        "UPDATE embedding_tasks SET completed_at = clock_timestamp() WHERE status = 'failed'"
    )
    assert (await carry_out(Run(world.psql, planned, BY))).changed == 0


async def test_in_the_place_of_what_others_retried_no_later_failure_is(world: World) -> None:
    tasks = await failed(world, 4)
    planned = await plan(world.psql, RETRY, TaskFilter(until=timedelta(seconds=90)))
    assert planned.matched == 2
    await do(world, RETRY, TaskFilter(ids=(tasks[0],)))
    assert (await carry_out(Run(world.psql, planned, BY))).ids == [tasks[1]]


async def test_two_at_once_share_the_work(world: World) -> None:
    await failed(world, 60)
    sessions = [await world.database.connect() for _ in range(2)]
    plans = [await plan(session, RETRY, TaskFilter()) for session in sessions]
    outcomes = await asyncio.gather(
        *(
            carry_out(Run(session, planned, BY, batch_size=7))
            for session, planned in zip(sessions, plans, strict=True)
        )
    )
    assert sum(outcome.changed for outcome in outcomes) == 60
    assert await world.miscounted() == []


async def test_a_group_of_failed_tasks_is_cancelled_and_nothing_else(world: World) -> None:
    given_up, others = await failed(world, 3, error="too long"), await failed(world, 2, error="timed out")
    group = await world.psql.fetchval("SELECT embedq_fingerprint('too long')")
    before = [dict(await world.row(task)) for task in given_up]
    outcome = await do(world, CANCEL_FAILED, TaskFilter(statuses=("failed",), group=group), batch_size=2)
    assert set(outcome.ids) == set(given_up)
    for old, task in zip(before, given_up, strict=True):
        assert dict(await world.row(task)) == old | {"error_message": CANCELLED}
    assert {(await world.row(task))["error_message"] for task in others} == {"timed out"}
    assert {
        json.loads(row["metadata"])["error"]
        for row in await audit(world, outcome.operation_id, of_tasks=True)
    } == {"too long"}
    assert await world.miscounted() == []
    again = await plan(world.psql, CANCEL_FAILED, TaskFilter(ids=tuple(given_up)))
    assert again.matched == 0
    assert {one.reason for one in await left_out(world.psql, again, Outcome())} == {"already"}


async def test_a_failure_without_an_error_is_cancelled_too(world: World) -> None:
    [task] = await failed(world)
    await world.psql.execute("UPDATE embedding_tasks SET error_message = NULL")  # as other programs may
    outcome = await do(world, CANCEL_FAILED, TaskFilter(statuses=("failed",)))
    assert (outcome.ids, (await world.row(task))["error_message"]) == ([task], CANCELLED)


async def test_what_was_cancelled_is_told_from_what_failed(world: World) -> None:
    async def cancelled() -> int:
        return (await overview(world.psql, world.database.settings)).queue.cancelled

    await failed(world, 2)
    for _ in range(3):
        await world.task(await world.article())
    assert await cancelled() == 0
    outcome = await do(world, CANCEL, TaskFilter())
    assert await cancelled() == 3
    await do(world, CANCEL_FAILED, TaskFilter(statuses=("failed",), error="boom"))
    assert await cancelled() == 5
    await undo(world.psql, outcome.operation_id, BY)
    assert await cancelled() == 2


async def test_a_task_goes_ahead_of_what_waits_with_its_priority(world: World) -> None:
    for _ in range(2):
        await world.task(await world.article(), priority="low", due_s=-3_600)
    [task] = await failed(world, priority="low")
    await do(world, RETRY_NEXT, TaskFilter(ids=(task,)))
    assert [claim.id for claim in await world.claim(await world.worker(), 1)] == [task]


@pytest.mark.parametrize("due", ["-infinity", "4714-11-24 00:00:00+00 BC", "infinity"])
async def test_a_task_goes_ahead_of_what_waits_since_or_until_any_time(world: World, due: str) -> None:
    await failed(world)
    await world.psql.execute(
        "INSERT INTO embedding_tasks (operation, scheduled_at) VALUES ('update', $1::text::timestamptz)", due
    )
    assert (await do(world, RETRY_NEXT, TaskFilter())).changed == 1
    assert await world.psql.fetchval(
        "SELECT abs(extract(epoch FROM now() - scheduled_at)) < 60 FROM embedding_tasks WHERE attempts = 0 "
        "AND isfinite(scheduled_at) AND scheduled_at > '2000-01-01'"
    )
