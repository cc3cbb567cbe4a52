"""Workers that die, freeze, or are taken for dead: what they held is done by others, once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from functools import partial

import asyncpg
import pytest

from embedq_worker.configuration.settings import Settings
from embedq_worker.queue import claims
from embedq_worker.queue.claims import ClaimedTask
from embedq_worker.service.logs import open_log
from embedq_worker.service.runtime import run_worker
from tests.support.content import queued_articles, statuses, until_tasks, until_true
from tests.support.databases import Connection, Database
from tests.support.oracle import Kind, judge
from tests.support.provider_stub import ProviderStub
from tests.support.supervised import let_go
from tests.support.waiting import until
from tests.support.worker_process import (
    BATCHES,
    WorkerProcess,
    environment,
    run_worker_process,
    worker_process,
)

pytestmark = pytest.mark.usefixtures("witness")


async def caught_at_work(connection: Connection, stub: ProviderStub, worker: WorkerProcess) -> None:
    """Let a worker claim ten tasks and wait for the provider in vain."""
    await worker.started()
    stub.faults.hold = asyncio.Event()
    await queued_articles(connection, 10)
    await until(lambda: stub.seen.in_flight == 1)


async def test_the_next_worker_on_a_host_takes_over_from_a_killed_one_at_once(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with worker_process(environment(database, stub), *BATCHES) as worker:
        await caught_at_work(connection, stub, worker)
        os.kill(worker.pid, signal.SIGKILL)
        await worker.ended()
    assert await statuses(connection) == {"processing": 10}
    let_go(stub)
    async with asyncio.timeout(15):
        code, _ = await run_worker_process(environment(database, stub), "--drain", *BATCHES)
    assert code == 0
    assert await statuses(connection) == {"completed": 10}
    assert await judge(connection, blameless=True) == []
    assert await connection.fetchval("SELECT array_agg(attempts) FROM embedding_tasks") == [1] * 10
    states = await connection.fetchval("SELECT array_agg(state ORDER BY started_at) FROM embedq_workers")
    assert states == ["dead", "stopped"]


@pytest.mark.slow
async def test_a_worker_killed_on_another_host_is_taken_for_dead_after_its_silence(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with worker_process(environment(database, stub), *BATCHES) as worker:
        await caught_at_work(connection, stub, worker)
        await worker.kill()
    await connection.execute("UPDATE embedq_workers SET host_key = 'elsewhere'")
    let_go(stub)
    code, _ = await run_worker_process(environment(database, stub), "--drain", *BATCHES)
    assert code == 0
    assert await statuses(connection) == {"processing": 10}  # it may live: nobody can tell yet
    await connection.execute("UPDATE embedq_workers SET heartbeat_at = now() - interval '46 seconds'")
    code, _ = await run_worker_process(environment(database, stub), "--drain", *BATCHES)
    assert code == 0
    assert await statuses(connection) == {"completed": 10}
    assert await judge(connection, blameless=True) == []


@pytest.mark.slow
async def test_a_task_that_kills_its_workers_ends_as_failed(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 4)
    await connection.execute("UPDATE articles SET content = 'KILLER' WHERE id = 2")
    stub.faults.slow = "KILLER"
    for _ in range(3):
        async with worker_process(environment(database, stub), "--batch-size", "10") as worker:
            await worker.started()
            await until(lambda: "KILLER" in "".join(stub.seen.texts))
            await worker.kill()
        stub.seen.texts.clear()
    code, _ = await run_worker_process(environment(database, stub), "--drain", "--batch-size", "10")
    assert code == 0
    assert await statuses(connection) == {"completed": 3, "failed": 1}
    assert {finding.kind for finding in await judge(connection)} == {Kind.MISSING}


@pytest.fixture
def own_signals() -> Iterator[None]:
    """A worker in this process leaves signals ignored; the programs of later tests would inherit that."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
async def test_a_task_that_crashes_its_workers_ends_as_failed(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    articles = await queued_articles(connection, 4)
    await connection.execute("UPDATE articles SET content = 'HUGE' WHERE id = $1", articles[1])
    decode = claims._claimed

    def claimed(row: asyncpg.Record) -> ClaimedTask:
        task = decode(row)
        if task.article and "HUGE" in task.article.content:
            raise MemoryError
        return task

    monkeypatch.setattr(claims, "_claimed", claimed)
    work = partial(run_worker, settings.model_copy(update={"batch_size": 10}), open_log("text", "error"))
    for _ in range(3):
        with pytest.raises(ExceptionGroup):
            await work(drain=True)
    await work(drain=True)
    assert await statuses(connection) == {"completed": 3, "failed": 1}
    assert {finding.kind for finding in await judge(connection)} == {Kind.MISSING}


async def test_a_worker_frozen_beyond_the_deadline_of_its_batch_charges_nobody(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    variables = environment(database, stub, EMBEDDING_WORKER_TIMEOUT=2_000, EMBEDDING_REQUEST_TIMEOUT=1_500)
    async with worker_process(variables, "--batch-size", "1") as worker:
        await worker.started()
        stub.faults.hold = asyncio.Event()
        await queued_articles(connection, 1)
        await until(lambda: stub.seen.in_flight == 1)
        worker.signal(signal.SIGSTOP)
        await asyncio.sleep(4.0)
        let_go(stub)
        worker.signal(signal.SIGCONT)
        await until_tasks(connection, completed=1)
        assert await worker.stop() == 0
    assert await judge(connection, blameless=True) == []


async def test_a_frozen_worker_that_was_taken_for_dead_writes_nothing_and_goes_on(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    variables = environment(database, stub, LOG_LEVEL="debug", EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=3000)
    async with worker_process(variables, *BATCHES) as frozen:
        await caught_at_work(connection, stub, frozen)
        frozen.signal(signal.SIGSTOP)
        let_go(stub)  # its answer waits in the socket
        await connection.execute("UPDATE embedq_workers SET heartbeat_at = now() - interval '1 minute'")
        await connection.execute("UPDATE embedq_workers SET host_key = 'elsewhere'")
        code, _ = await run_worker_process(environment(database, stub), "--drain", *BATCHES)
        assert code == 0
        assert await statuses(connection) == {"completed": 10}
        await connection.execute("UPDATE embeddings SET text_content = 'written by the other'")

        frozen.signal(signal.SIGCONT)
        await frozen.until_heard('"lost": 10')
        written = await connection.fetchval("SELECT array_agg(DISTINCT text_content) FROM embeddings")
        assert written == ["written by the other"]
        await queued_articles(connection, 10, slug="more")
        await until_tasks(connection, completed=20)
        await frozen.until_heard("registering again")
        await until_true(connection, "SELECT count(*) = 1 FROM embedq_workers WHERE state = 'running'")
        assert await frozen.stop() == 0
    assert await connection.fetchval("SELECT sum(attempts) FROM embedding_tasks") == 20
    found = await judge(connection, blameless=True)  # the texts of the first ten were written over above
    assert {finding.kind for finding in found} == {Kind.STALE}
    assert len(found) == 10
