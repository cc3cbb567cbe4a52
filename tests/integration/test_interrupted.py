"""What an operator interrupts ends with a whole batch, which is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from embedq_worker.actions import backfill, bulk, tasks
from embedq_worker.actions.backfill import BackfillRun
from embedq_worker.actions.tasks import CANCEL, Run, carry_out, plan
from embedq_worker.actions.undo import Undone, undo
from embedq_worker.queue.wanted import TaskFilter
from tests.support.backfilling import BY, OPTIONS, queue_all
from tests.support.blocking import until_blocked
from tests.support.content import add_articles, statuses
from tests.support.databases import Connection, Database

Interrupt = Callable[[Callable[[Connection], Coroutine[Any, Any, object]]], Coroutine[Any, Any, None]]


@pytest.fixture
async def interrupt(database: Database, connection: Connection) -> Interrupt:
    """Interrupts what a session does, in the middle of its first batch."""

    async def interrupted(begin: Callable[[Connection], Coroutine[Any, Any, object]]) -> None:
        session, blocker = await database.connect(), await database.connect()
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE embedding_tasks")
            work = asyncio.ensure_future(begin(session))
            await until_blocked(connection, session)
            work.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await work

    return interrupted


async def test_a_backfill_that_can_go_on_at_once(connection: Connection, interrupt: Interrupt) -> None:
    await add_articles(connection, ["Text."] * 30)
    options, seen = replace(OPTIONS, batch_size=10), list[BackfillRun]()
    await interrupt(lambda it: backfill.run(it, options, by=BY, planned=30, progress=seen.append))
    assert [so_far.queued for so_far in seen] == [10]
    assert await statuses(connection) == {"pending": 10}
    again = await queue_all(connection, options)
    assert (again.resumed, again.state, again.queued) == (True, "done", 20)


async def test_a_backfill_taken_back(connection: Connection, interrupt: Interrupt) -> None:
    await add_articles(connection, ["Text."] * 30)
    operation, seen = (await queue_all(connection)).operation_id, list[int]()
    await interrupt(lambda it: bulk.rollback(it, operation, by=BY, batch_size=10, progress=seen.append))
    assert seen == [10]
    assert await statuses(connection) == {"pending": 20}
    assert await bulk.rollback(connection, operation, by=BY) == 20


async def test_an_undo(connection: Connection, interrupt: Interrupt) -> None:
    await add_articles(connection, ["Text."] * 30)
    await queue_all(connection)
    planned = await plan(connection, CANCEL, TaskFilter())
    operation, seen = (await carry_out(Run(connection, planned, BY))).operation_id, list[Undone]()
    await interrupt(lambda it: undo(it, operation, BY, batch_size=10, progress=seen.append))
    assert [(so_far.changed, so_far.kept) for so_far in seen] == [(10, 0)]
    assert await statuses(connection) == {"pending": 10, "failed": 20}
    assert (await undo(connection, operation, BY)).changed == 20


async def test_a_batch_that_waits_for_a_lock_is_broken_off(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "WHOLE_S", 0.1)
    await add_articles(connection, ["Text."] * 30)
    session, blocker = await database.connect(), await database.connect()
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE embedding_tasks")
        work = asyncio.ensure_future(backfill.run(session, OPTIONS, by=BY, planned=30))
        await until_blocked(connection, session)
        work.cancel()
        await asyncio.wait([work], timeout=20)
        assert work.cancelled()
    assert await statuses(connection) == {}
    assert (await queue_all(connection)).queued == 30
