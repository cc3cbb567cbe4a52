"""`embedq-worker --drain`: when it ends, and with which exit code."""

from __future__ import annotations

import pytest

from embedq_worker.actions import orders
from embedq_worker.actions.orders import Order
from tests.commands.actors import let_hold, start_worker
from tests.support.content import (
    add_articles,
    queue_tasks,
    queued_articles,
    statuses,
    wrong_articles,
)
from tests.support.databases import Connection, Database
from tests.support.provider_stub import Fault, ProviderStub
from tests.support.worker_process import environment, run_worker_process, worker_process


async def test_a_drain_ends_when_everything_is_embedded(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 50)
    code, worker = await run_worker_process(
        environment(database, stub), "--drain", "--batch-size", "20", "--concurrency", "2"
    )
    assert (code, worker.plain_lines) == (0, [])
    assert await statuses(connection) == {"completed": 50}
    assert await wrong_articles(connection) == []
    row = await connection.fetchrow("SELECT * FROM embedding_worker_status")
    assert row is not None
    assert (row["is_running"], row["tasks_processed"], row["tasks_succeeded"]) == (False, 50, 50)
    assert await connection.fetchval("SELECT array_agg(state) FROM embedq_workers") == ["stopped"]


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_a_drain_waits_for_retries_that_come_soon(
    database: Database, connection: Connection, stub: ProviderStub, concurrency: int
) -> None:
    await queued_articles(connection, 3)
    stub.faults.turn({"fault": Fault.STATUS, "times": 3, "latency_s": 0.3})
    stub.faults.every = 2  # the check at start works
    code, worker = await run_worker_process(
        environment(database, stub), "--drain", "--batch-size", "3", "--concurrency", str(concurrency)
    )
    assert (code, worker.plain_lines) == (0, [])
    assert await wrong_articles(connection) == []


async def test_a_drain_waits_for_a_provider_that_asks_for_patience(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 2)
    stub.faults.fault, stub.faults.status, stub.faults.times = Fault.STATUS, 429, 1
    stub.faults.headers = {"Retry-After": "1"}
    code, worker = await run_worker_process(environment(database, stub), "--drain")
    assert code == 0, worker.text
    assert await statuses(connection) == {"completed": 2}


async def test_a_drain_whose_provider_goes_down_meanwhile_does_not_wait_for_it(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 100)
    stub.faults.latency_s = 0.2
    async with worker_process(environment(database, stub), "--drain") as worker:
        await worker.started()
        await stub.stop()
        assert await worker.ended() == 3
    assert len(worker.plain_lines) == 2
    assert set(await statuses(connection)) <= {"completed", "pending"}


async def test_a_drain_of_an_empty_queue_ends_at_once(database: Database, stub: ProviderStub) -> None:
    code, worker = await run_worker_process(environment(database, stub), "--drain")
    assert (code, worker.plain_lines) == (0, [])


async def test_a_drain_with_failed_tasks_ends_too(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queue_tasks(connection, await add_articles(connection, ["POISON", "fine"]))
    stub.faults.poison = "POISON"
    code, _ = await run_worker_process(environment(database, stub), "--drain")
    assert code == 0
    assert await statuses(connection) == {"completed": 1, "failed": 1}


async def test_a_drain_serves_only_its_priorities_and_folders(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    for folder in ("", "docs", "docs/api", "docsother", "news"):
        for priority in ("high", "normal", "low"):
            slug = f"{folder.replace('/', '-')}-{priority}"
            articles = await add_articles(connection, ["Text."], slug=slug, folder=folder)
            await queue_tasks(connection, articles, priority=priority)
    code, _ = await run_worker_process(
        environment(database, stub),
        "--drain",
        "--priority",
        "high",
        "--priority",
        "low",
        "--folder",
        "/docs/",
    )
    assert code == 0
    done = await connection.fetch("SELECT slug FROM embedding_tasks WHERE status = 'completed' ORDER BY slug")
    assert [row["slug"] for row in done] == ["docs-api-high-0", "docs-api-low-0", "docs-high-0", "docs-low-0"]


@pytest.mark.parametrize("order", [Order.STOP, Order.PAUSE])
async def test_a_drain_against_an_operators_order_says_so(
    database: Database, connection: Connection, stub: ProviderStub, order: Order
) -> None:
    await queued_articles(connection, 3)
    await orders.command(connection, order, "me@here")
    code, worker = await run_worker_process(environment(database, stub), "--drain")
    assert code == 1
    assert len(worker.plain_lines) == 2
    assert await statuses(connection) == {"pending": 3}
    assert stub.seen.inputs == 1


async def test_a_drain_that_waits_for_another_programs_task_says_so(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    [article] = await queued_articles(connection, 1)
    await connection.execute("UPDATE embedding_tasks SET status = 'processing', processed_at = now()")
    await queue_tasks(connection, [article])
    async with worker_process(environment(database, stub), "--drain") as worker:
        await worker.until_heard("waiting")
        await connection.execute(
            "UPDATE embedding_tasks SET status = 'completed' WHERE status = 'processing'"
        )
        assert await worker.ended() == 0
    assert worker.text.count("waiting") == 1
    assert await statuses(connection) == {"completed": 2}


async def test_a_drain_leaves_what_the_dead_hold_where_taking_back_is_switched_off(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 1)
    await let_hold(connection, await start_worker(connection, silent="1 h"))
    variables = environment(database, stub, EMBEDDING_QUEUE_STUCK_TASK_CLEANUP_ENABLED="false")
    code, _ = await run_worker_process(variables, "--drain")
    assert code == 0
    assert await statuses(connection) == {"processing": 1}
