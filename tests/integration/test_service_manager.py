"""What systemd hears of a worker: a real process and a real NOTIFY_SOCKET."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.content import queued_articles, until_true
from tests.support.databases import Connection, Database
from tests.support.provider_stub import ProviderStub
from tests.support.service_manager import ManagerStub
from tests.support.waiting import until
from tests.support.worker_process import environment, run_worker_process, worker_process


@pytest.fixture
async def manager() -> AsyncIterator[ManagerStub]:
    with ManagerStub() as running:
        yield running


async def test_it_is_ready_when_it_serves_and_lives_until_it_says_that_it_ends(
    database: Database, connection: Connection, stub: ProviderStub, manager: ManagerStub
) -> None:
    variables = environment(database, stub, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=300_000)
    async with worker_process(variables) as worker:
        await manager.until_told("READY=1")
        assert await connection.fetchval("SELECT count(*) FROM embedq_workers WHERE state = 'running'") == 1
        await manager.until_told("WATCHDOG=1", times=3)
        assert "STOPPING=1" not in manager.told
        assert await worker.stop() == 0
    assert [name for name in manager.names() if name != "WATCHDOG"] == [
        "READY",
        "STATUS",
        "STOPPING",
        "EXTEND_TIMEOUT_USEC",
    ]


async def test_its_status_tells_what_it_waits_for(
    database: Database, connection: Connection, stub: ProviderStub, manager: ManagerStub
) -> None:
    variables = environment(database, stub, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=300_000)
    async with worker_process(variables) as worker:
        await until(lambda: manager.status() != "", within_s=20)
        serving = manager.status()
        await connection.execute("UPDATE embedding_worker_status SET is_running = false")
        await until(lambda: manager.status() != serving, within_s=20)
        await connection.execute("UPDATE embedding_worker_status SET is_running = true")
        await until(lambda: manager.status() == serving, within_s=20)
        assert await worker.stop() == 0


async def test_a_worker_that_hangs_says_no_word_of_life(
    database: Database, stub: ProviderStub, manager: ManagerStub
) -> None:
    variables = environment(database, stub, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=300_000)
    async with worker_process(variables) as worker:
        await manager.until_told("WATCHDOG=1")
        worker.signal(signal.SIGSTOP)
        heard = manager.told.count("WATCHDOG=1")
        with pytest.raises(TimeoutError):
            await until(lambda: manager.told.count("WATCHDOG=1") > heard + 1, within_s=0.6)
        worker.signal(signal.SIGCONT)
        await manager.until_told("WATCHDOG=1", times=heard + 2)
        assert await worker.stop() == 0


async def test_a_manager_that_went_away_changes_nothing(
    database: Database, connection: Connection, stub: ProviderStub, tmp_path: Path
) -> None:
    await queued_articles(connection, 3)
    variables = environment(database, stub, NOTIFY_SOCKET=tmp_path / "gone", WATCHDOG_USEC=30_000)
    async with worker_process(variables) as worker:
        await until_true(connection, "SELECT count(*) = 3 FROM embedding_tasks WHERE status = 'completed'")
        assert await worker.stop() == 0


@pytest.mark.parametrize("switch", ["SEMANTIC_SEARCH_ENABLED", "EMBEDDING_QUEUE_ENABLED"])
async def test_a_worker_that_is_switched_off_was_ready(
    database: Database, manager: ManagerStub, switch: str
) -> None:
    variables = environment(database, NOTIFY_SOCKET=manager.address) | {switch: "false"}
    assert (await run_worker_process(variables))[0] == 0
    await manager.until_told("READY=1")
