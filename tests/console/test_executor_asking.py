"""What the console asks before it acts, what it takes back, and what it tells of the rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

import pytest

from embedq_tui.dialogs.confirm import Confirm
from embedq_tui.execution.request import Request, cancel, give_up, prioritise, reset, retry
from embedq_tui.execution.undo import UndoableOperation
from embedq_worker.actions.tasks import CANCEL, Run, carry_out, plan
from embedq_worker.queue.wanted import TaskFilter
from tests.console.executing import BY, PENDING, bench
from tests.support.content import failed_tasks, queued_articles, statuses
from tests.support.databases import Connection, Database

HIGH = partial(prioritise, priority="high")
EACH = {"failed": 2, "pending": 2, "processing": 2}


async def some_of_each(connection: Connection) -> dict[str, list[UUID]]:
    """Two tasks of each of three statuses."""
    await failed_tasks(connection, 2)
    await queued_articles(connection, 4)
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'processing', processed_at = now()
           WHERE id IN (SELECT id FROM embedding_tasks WHERE status = 'pending' LIMIT 2)"""
    )
    rows = await connection.fetch("SELECT status, array_agg(id) AS ids FROM embedding_tasks GROUP BY status")
    return {row["status"]: row["ids"] for row in rows}


@pytest.mark.parametrize(
    ("made", "status", "number"),
    [
        (retry, "failed", 2),
        (HIGH, "pending", 2),
        (cancel, "pending", 1),
        (cancel, "processing", 2),
        (give_up, "failed", 1),
        (reset, "processing", 1),
    ],
)
async def test_these_are_not_done_before_the_operator_says_so(
    database: Database,
    connection: Connection,
    made: Callable[[TaskFilter], Request],
    status: str,
    number: int,
) -> None:
    ids = (await some_of_each(connection))[status][:number]
    async with bench(database) as (app, pilot):
        work = app.begin(app.executor.carry_out(made(TaskFilter(ids=tuple(ids)))))
        await app.dialog(Confirm)
        assert await statuses(connection) == EACH
        await pilot.press("s", "n")  # stages are not offered
        assert await work.wait() is None
    assert await statuses(connection) == EACH
    assert not await connection.fetchval("SELECT count(*) FROM embedding_tasks WHERE priority = 'high'")


async def test_the_last_is_taken_back_first(database: Database, connection: Connection) -> None:
    tasks = await some_of_each(connection)
    waiting = TaskFilter(ids=tuple(tasks["pending"]))
    async with bench(database) as (app, pilot):

        async def do(request: Request) -> None:
            work = app.begin(app.executor.carry_out(request))
            await app.dialog(Confirm)
            await pilot.press("y")
            assert await work.wait() is not None

        await do(HIGH(waiting))
        await do(cancel(waiting))
        await do(retry(TaskFilter(ids=tuple(tasks["failed"]))))  # nothing takes that back
        assert await statuses(connection) == EACH
        for priority in ("high", "normal"):
            undoing = app.begin(app.history.undo_last())
            await app.dialog(Confirm)
            await pilot.press("y")
            undone = await undoing.wait()
            assert undone is not None
            assert undone.changed == 2
            rows = await connection.fetch(
                "SELECT status, priority FROM embedding_tasks WHERE id = ANY ($1::uuid[])", tasks["pending"]
            )
            assert {row["status"] for row in rows} == {"pending"}
            assert {row["priority"] for row in rows} == {priority}
        assert app.history.last is None


async def test_where_nothing_may_be_changed_nothing_is_taken_back(
    database: Database, connection: Connection
) -> None:
    await queued_articles(connection, 2)
    done = await carry_out(Run(connection, await plan(connection, CANCEL, PENDING), BY))
    async with bench(database, read_only=lambda: "a replica") as (app, _):
        operation = UndoableOperation(done.operation_id, "2 tasks cancelled")
        assert await app.begin(app.history.undo(operation)).wait() is None
        assert not isinstance(app.screen, Confirm)
    assert await statuses(connection) == {"failed": 2}


async def test_nothing_is_done_to_a_database_of_another_version(
    database: Database, connection: Connection
) -> None:
    one = TaskFilter(ids=tuple(await failed_tasks(connection, 1)))
    await queued_articles(connection, 1)
    done = await carry_out(Run(connection, await plan(connection, CANCEL, PENDING), BY))
    await connection.execute("DELETE FROM embedq_migrations WHERE version = 18")
    async with bench(database) as (app, _):
        assert await app.begin(app.executor.carry_out(retry(one))).wait() is None
        undoing = app.begin(app.history.undo(UndoableOperation(done.operation_id, "1 task cancelled")))
        assert await undoing.wait() is None
        assert len(app.told) == 2
    assert await statuses(connection) == {"failed": 2}


async def test_how_many_were_passed_by_is_told(database: Database, connection: Connection) -> None:
    await queued_articles(connection, 5)
    other = await database.connect()
    async with bench(database) as (app, pilot), other.transaction():
        await other.execute("SELECT FROM embedding_tasks LIMIT 2 FOR UPDATE")
        work = app.begin(app.executor.carry_out(HIGH(PENDING)))
        await app.dialog(Confirm)
        await pilot.press("y")
        outcome = await work.wait()
    assert outcome is not None
    assert outcome.changed == 3
    assert any("2 tasks" in told for told in app.told)
