"""An operator's word to one worker of several: how much it does at once, and that it is to end."""

from __future__ import annotations

import asyncio
import signal
from uuid import UUID, uuid4

import pytest

from embedq_worker.actions import orders
from embedq_worker.errors import UsageError
from tests.support.content import queued_articles, statuses, until_tasks, until_true
from tests.support.databases import Connection, Database
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until
from tests.support.worker_process import environment, worker_process

BY = "ann@ops"

SHOWN = "SELECT (settings ->> 'concurrency')::int = $1 FROM embedq_workers"


async def audited(connection: Connection, worker: UUID) -> int:
    """Rows about orders of this operator to this worker."""
    found: int = await connection.fetchval(
        """SELECT count(*) FROM embedding_audit_logs WHERE category = 'queue_operations'
           AND concat_ws('@', metadata ->> 'operator', metadata ->> 'host') = $1
           AND metadata ->> 'worker' = $2""",
        BY,
        str(worker),
    )
    return found


async def test_concurrency_changes_while_a_worker_works(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    variables = environment(database, stub, EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=60_000)
    async with worker_process(variables) as process:
        await process.started()
        stub.faults.hold = first = asyncio.Event()
        await queued_articles(connection, 10)
        await until_tasks(connection, processing=1, pending=9)
        worker = await connection.fetchval("SELECT id FROM embedq_workers")
        assert await orders.set_concurrency(connection, worker, 4, BY)
        await until_tasks(connection, processing=4, pending=6)
        await until_true(connection, SHOWN, 4)
        await until(lambda: stub.seen.in_flight == 4)
        assert await orders.set_concurrency(connection, worker, 1, BY)
        await until_true(connection, SHOWN, 1)
        stub.faults.hold = second = asyncio.Event()
        first.set()
        await until_tasks(connection, completed=4, processing=1, pending=5)
        await until(lambda: stub.seen.in_flight == 1)
        stub.seen.max_in_flight = 1
        second.set()
        await until_tasks(connection, completed=10)
        assert stub.seen.max_in_flight == 1
        assert process.running
    assert await audited(connection, worker) == 2


async def test_one_worker_is_stopped_and_the_other_goes_on(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    variables = environment(database, stub)
    async with worker_process(variables) as first, worker_process(variables) as second:
        await asyncio.gather(first.started(), second.started())
        worker = await connection.fetchval("SELECT id FROM embedq_workers WHERE pid = $1", first.pid)
        assert await orders.stop_worker(connection, worker, force=False, by=BY)
        assert await first.ended() == 0
        await queued_articles(connection, 2)
        await until_tasks(connection, completed=2)
        assert second.running
        assert await orders.asked_workers(connection, [worker], dead_s=60)
        assert not await orders.stop_worker(connection, worker, force=True, by=BY)
    assert await audited(connection, worker) == 1


async def test_a_forced_stop_gives_back_what_one_worker_holds(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with worker_process(environment(database, stub)) as process:
        await process.started()
        stub.faults.hold = asyncio.Event()
        await queued_articles(connection, 1)
        await until_tasks(connection, processing=1)
        worker = await connection.fetchval("SELECT id FROM embedq_workers")
        assert await orders.stop_worker(connection, worker, force=False, by=BY)
        assert await orders.stop_worker(connection, worker, force=True, by=BY)
        assert await process.ended() == 0
    assert await statuses(connection) == {"pending": 1}


async def test_an_order_to_end_does_not_hurry_a_worker_that_is_ending(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with worker_process(environment(database, stub)) as process:
        await process.started()
        stub.faults.hold = asyncio.Event()
        await queued_articles(connection, 1)
        await until(lambda: stub.seen.in_flight == 1)
        process.signal(signal.SIGTERM)
        await process.until_heard("stopping")
        worker = await connection.fetchval("SELECT id FROM embedq_workers")
        assert await orders.stop_worker(connection, worker, force=False, by=BY)
        asked_at = await connection.fetchval("SELECT clock_timestamp()")
        await until_true(connection, "SELECT heartbeat_at > $1 FROM embedq_workers", asked_at)
        stub.faults.hold.set()
        assert await process.ended() == 0
    assert await statuses(connection) == {"completed": 1}


async def test_orders_to_nobody(connection: Connection) -> None:
    assert not await orders.set_concurrency(connection, uuid4(), 2, BY)
    assert not await orders.stop_worker(connection, uuid4(), force=False, by=BY)
    for number in (0, 257):
        with pytest.raises(UsageError):
            await orders.set_concurrency(connection, uuid4(), number, BY)
    assert not await connection.fetchval("SELECT count(*) FROM embedding_audit_logs")
