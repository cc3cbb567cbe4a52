"""A backfill that is stopped, killed, started twice, taken back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from embedq_worker.actions import backfill, bulk
from embedq_worker.actions.backfill import BackfillBusy, BackfillOptions, BackfillRun
from embedq_worker.database.failures import EXPECTED_ERRORS
from embedq_worker.schema.needs import Category
from tests.support.backfilling import BY, OPTIONS, queue_all
from tests.support.blocking import until_blocked
from tests.support.content import add_articles, queue_tasks, statuses
from tests.support.databases import Connection, Database
from tests.support.piping import Bench

# -- stopping and going on


async def test_stopped_and_run_again_there_are_no_duplicates(connection: Connection, worker: Bench) -> None:
    await add_articles(connection, ["Text."] * 50)
    stop = asyncio.Event()
    seen: list[BackfillRun] = []

    def after_two(so_far: BackfillRun) -> None:
        seen.append(so_far)
        if len(seen) == 2:
            stop.set()

    options = replace(OPTIONS, batch_size=10)
    first = await backfill.run(connection, options, by=BY, planned=50, progress=after_two, stop=stop)
    assert (first.state, first.queued) == ("stopped", 20)
    assert [so_far.queued for so_far in seen] == [10, 20]
    operation = await bulk.status(connection)
    assert operation is not None
    assert (operation.state, operation.queued, operation.planned) == ("stopped", 20, 50)

    await worker.work(limit=10)
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'failed' WHERE id IN (
               SELECT id FROM embedding_tasks WHERE status = 'pending' LIMIT 5)"""
    )
    second = await backfill.run(connection, options, by=BY, planned=30)
    assert (second.operation_id, second.resumed, second.state) == (first.operation_id, True, "done")
    assert second.queued == 30  # not those that this operation has seen fail
    assert await connection.fetchval("SELECT count(DISTINCT article_id) FROM embedding_tasks") == 50
    assert await connection.fetchval("SELECT count(*) FROM embedding_tasks") == 50
    operation = await bulk.status(connection)
    assert operation is not None
    assert (operation.state, operation.queued, operation.planned) == ("done", 50, 50)
    assert operation.tasks == {"pending": 35, "completed": 10, "failed": 5}

    third = await backfill.run(connection, options, by=BY, planned=5)  # another operation: they get a chance
    assert (third.resumed, third.queued) == (False, 5)


async def stopped(connection: Connection, options: BackfillOptions) -> BackfillRun:
    """A run that is stopped after its first batch."""
    stop = asyncio.Event()
    return await backfill.run(
        connection, options, by=BY, planned=30, progress=lambda _: stop.set(), stop=stop
    )


async def test_who_goes_on_finds_what_broke_behind_the_place_that_was_reached(
    connection: Connection,
) -> None:
    blank, *_ = await add_articles(connection, ["", *["Text."] * 29])
    options = replace(OPTIONS, batch_size=10)
    assert (await stopped(connection, options)).queued == 9
    await connection.execute("UPDATE articles SET content = 'Text.' WHERE id = $1", blank)
    again = await queue_all(connection, options)
    assert (again.resumed, again.queued) == (True, 21)


@pytest.mark.parametrize(("ago", "resumed"), [("23 hours", True), ("25 hours", False)])
async def test_what_was_stopped_a_day_ago_is_another_operation(
    connection: Connection, ago: str, resumed: bool
) -> None:
    await add_articles(connection, ["Text."] * 30)
    options = replace(OPTIONS, batch_size=10)
    await stopped(connection, options)
    await connection.execute(
        "UPDATE embedq_bulk_operations SET updated_at = updated_at - $1::text::interval", ago
    )
    again = await queue_all(connection, options)
    assert (again.resumed, again.queued) == (resumed, 20)


@pytest.mark.parametrize(
    "other",
    [replace(OPTIONS, priority="high"), replace(OPTIONS, categories=frozenset({Category.MISSING}))],
    ids=["priority", "categories"],
)
async def test_another_filter_is_another_operation(connection: Connection, other: BackfillOptions) -> None:
    await add_articles(connection, ["Text."] * 3)
    stop = asyncio.Event()
    stop.set()
    first = await backfill.run(connection, OPTIONS, by=BY, planned=3, stop=stop)
    second = await queue_all(connection, other)
    assert (second.resumed, second.operation_id != first.operation_id) == (False, True)
    assert await bulk.rollback(connection, first.operation_id, by=BY) == 0
    assert await statuses(connection) == {"pending": 3}


async def test_a_second_run_is_refused_until_the_first_is_silent_for_a_while(
    database: Database, connection: Connection
) -> None:
    await add_articles(connection, ["Text."] * 30)
    blocker, runner = await database.connect(), await database.connect()
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE embedding_tasks")
        running = asyncio.create_task(backfill.run(runner, OPTIONS, by=BY, planned=30))
        await until_blocked(connection, runner)
        await connection.execute("SELECT pg_terminate_backend($1)", runner.get_server_pid())
        with pytest.raises(EXPECTED_ERRORS):
            await running
    silent = "UPDATE embedq_bulk_operations SET updated_at = clock_timestamp() - $1::text::interval"
    await connection.execute(silent, "20 s")
    with pytest.raises(BackfillBusy) as raised:
        await queue_all(connection)
    assert BY in str(raised.value)
    await connection.execute(silent, "1 minute")
    again = await queue_all(connection)
    assert (again.resumed, again.state, again.queued) == (True, "done", 30)


async def test_of_two_runs_that_start_at_once_one_is_refused(
    database: Database, connection: Connection
) -> None:
    await add_articles(connection, ["Text."])
    gate, holder, *runners = [await database.connect() for _ in range(4)]
    async with gate.transaction():
        await gate.execute("LOCK TABLE embedding_tasks")  # so that the other does not end before
        async with holder.transaction():
            await holder.execute("LOCK TABLE embedq_bulk_operations")
            runs = {
                asyncio.create_task(backfill.run(runner, OPTIONS, by=BY, planned=1)) for runner in runners
            }
            for runner in runners:
                await until_blocked(connection, runner)
        (refused,), (other,) = await asyncio.wait(runs, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        assert isinstance(refused.exception(), BackfillBusy)
    assert (await other).queued == 1


@asynccontextmanager
async def after_one_batch(
    database: Database, connection: Connection, options: BackfillOptions
) -> AsyncIterator[tuple[Connection, asyncio.Task[BackfillRun]]]:
    """A run that has done one batch and stands before the next, until the block ends.

    Yields:
        A connection in a transaction that holds the run off, and the run.
    """
    gate, holder, runner = [await database.connect() for _ in range(3)]
    async with holder.transaction():
        async with gate.transaction():
            await gate.execute("LOCK TABLE embedding_tasks")
            running = asyncio.create_task(backfill.run(runner, options, by=BY, planned=30))
            await until_blocked(connection, runner)
            holding = asyncio.create_task(holder.execute("LOCK TABLE embedq_bulk_operations"))
            await until_blocked(connection, holder)  # by the batch: it comes before the next one
        await holding
        yield holder, running


async def test_a_run_that_was_taken_for_dead_ends_when_it_wakes(
    database: Database, connection: Connection
) -> None:
    await add_articles(connection, ["Text."] * 30)
    options = replace(OPTIONS, batch_size=10)
    async with after_one_batch(database, connection, options) as (other, running):
        await other.execute("UPDATE embedq_bulk_operations SET updated_at = updated_at - interval '1 minute'")
        second = await backfill.run(other, options, by="bob@example", planned=20)
    first = await running
    assert (first.state, first.queued) == ("taken over", 10)
    assert (second.state, second.queued) == ("done", 20)
    assert second.operation_id == first.operation_id
    assert await statuses(connection) == {"pending": 30}


async def test_who_goes_on_with_a_run_that_only_seems_dead_waits_for_its_batch(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_articles(connection, ["Text."] * 30)
    monkeypatch.setattr(backfill, "SILENT_S", 0.0)
    gate, *runners = [await database.connect() for _ in range(3)]
    runs = []
    async with gate.transaction():
        await gate.execute("LOCK TABLE embedding_tasks")
        for runner in runners:
            runs.append(asyncio.create_task(backfill.run(runner, OPTIONS, by=BY, planned=30)))
            await until_blocked(connection, runner)
    first, second = await asyncio.gather(*runs)
    assert (first.state, first.queued) == ("done", 30)
    assert (second.state, second.queued) == ("done", 0)


# -- taking back


async def test_taking_back_what_nobody_has_begun(connection: Connection, worker: Bench) -> None:
    await add_articles(connection, ["Text."] * 30)
    own = await add_articles(connection, ["Text."], slug="saved")
    await queue_tasks(connection, own)
    run = await queue_all(connection)
    assert run.queued == 30
    await worker.work(limit=11)  # the saved one first, for it is more urgent
    held = await worker.pipeline.claim(5)
    seen: list[int] = []
    removed = await bulk.rollback(connection, run.operation_id, by=BY, batch_size=6, progress=seen.append)
    assert (removed, seen) == (15, [6, 12, 15])
    operation = await bulk.status(connection, run.operation_id)
    assert operation is not None
    assert operation.state == "rolled_back"
    assert operation.tasks == {"completed": 10, "processing": 5}
    assert await bulk.rollback(connection, run.operation_id, by=BY) == 0
    assert len(held) == 5
    assert await connection.fetchval(
        """SELECT sum((metadata ->> 'count')::int) FROM embedding_audit_logs
           WHERE operation_id = $1 AND NOT metadata ? 'up_to_article'
             AND concat_ws('@', metadata ->> 'operator', metadata ->> 'host') = $2""",
        str(run.operation_id),
        BY,
    ) == 15  # fmt: skip


async def test_a_run_ends_when_it_is_taken_back(database: Database, connection: Connection) -> None:
    await add_articles(connection, ["Text."] * 30)
    async with after_one_batch(database, connection, replace(OPTIONS, batch_size=10)) as (other, running):
        operation = await bulk.status(other)
        assert operation is not None
        assert await bulk.rollback(other, operation.id, by=BY) == 10
    run = await running
    assert (run.operation_id, run.state, run.queued) == (operation.id, "rolled_back", 10)
    assert await statuses(connection) == {}
    again = await queue_all(connection)
    assert (again.resumed, again.queued) == (False, 30)


async def test_what_a_batch_is_queueing_is_taken_back_too(database: Database, connection: Connection) -> None:
    await add_articles(connection, ["Text."] * 30)
    gate, runner, other = [await database.connect() for _ in range(3)]
    async with gate.transaction():
        await gate.execute("LOCK TABLE embedding_tasks")
        running = asyncio.create_task(backfill.run(runner, OPTIONS, by=BY, planned=30))
        await until_blocked(connection, runner)
        operation = await bulk.status(gate)
        assert operation is not None
        taking_back = asyncio.create_task(bulk.rollback(other, operation.id, by=BY))
        await until_blocked(connection, other)
    assert (await running).queued == await taking_back == 30
    after = await bulk.status(connection)
    assert after is not None
    assert (after.state, after.tasks) == ("rolled_back", {})


async def test_what_is_being_claimed_is_not_taken_back_and_not_waited_for(
    database: Database, connection: Connection
) -> None:
    await add_articles(connection, ["Text."] * 3)
    run = await queue_all(connection)
    worker = await database.connect()
    async with worker.transaction():
        await worker.execute(
            """UPDATE embedding_tasks SET status = 'processing', processed_at = now()
               WHERE id = (SELECT id FROM embedding_tasks LIMIT 1)"""
        )
        assert await bulk.rollback(connection, run.operation_id, by=BY) == 2
    assert await statuses(connection) == {"processing": 1}


async def test_there_may_be_no_operation(connection: Connection) -> None:
    assert await bulk.status(connection) is None
