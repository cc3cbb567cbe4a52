"""What becomes of a worker whose console ends, dies, or leaves it on purpose: no orphan, nothing lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from embedq_worker.configuration.loading import environment_of
from embedq_worker.configuration.settings import Settings
from tests.support.content import queued_articles, statuses, until_tasks, until_true
from tests.support.databases import Connection
from tests.support.processes import gone, is_no_child
from tests.support.provider_stub import ProviderStub
from tests.support.supervised import OFF, Watched, hold_tasks, let_go, watched
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def console(settings: Settings, state: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A program that supervises a worker; with the pid of the worker."""
    base = os.environ | {"PYTHONWARNINGS": "error", "XDG_STATE_HOME": str(state), "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.supervising"),
        env=environment_of(settings, base),
        cwd=state,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    worker = 0
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            said = (await process.stdout.readline()).decode().split()
        assert said[0] == "running"
        worker = int(said[1])
        yield process, worker
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        if worker and not gone(worker):
            os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
async def test_a_worker_whose_console_dies_finishes_what_it_holds_and_exits(
    settings: Settings, connection: Connection, stub: ProviderStub, tmp_path: Path, number: signal.Signals
) -> None:
    async with console(settings, tmp_path) as (process, worker):
        await hold_tasks(connection, stub, count=30)
        process.send_signal(number)
        assert await process.wait() == -number
        await until_true(connection, "SELECT state = 'stopping' FROM embedq_workers")
        assert not gone(worker)
        let_go(stub)
        await until(lambda: gone(worker))
    done = await statuses(connection)
    assert set(done) == {"completed", "pending"}  # of two batches, and nothing was claimed any more
    assert 5 <= done["completed"] <= 10
    assert await connection.fetchval("SELECT array_agg(state) FROM embedq_workers") == ["stopped"]


async def test_a_worker_left_on_purpose_goes_on_and_writes_its_log_to_a_file(
    settings: Settings, connection: Connection, stub: ProviderStub, tmp_path: Path
) -> None:
    async with console(settings, tmp_path) as (process, worker):
        await hold_tasks(connection, stub)
        answer, _ = await process.communicate(b"leave\n")
        assert process.returncode == 0
        log = Path(answer.decode().split()[1])
        assert log.is_relative_to(tmp_path)
        assert os.stat(log).st_mode & 0o077 == 0
        let_go(stub)
        await until_tasks(connection, completed=5)
        await queued_articles(connection, 10, slug="later")
        await until_tasks(connection, completed=15)
        assert await connection.fetchval("SELECT state FROM embedq_workers") == "running"
        await until(lambda: "batch done" in log.read_text())
        os.kill(worker, signal.SIGTERM)
        await until(lambda: gone(worker))
        await until(lambda: "worker stopped" in log.read_text())


async def test_a_worker_can_be_left_by_a_console_that_stays(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))  # where no log can be made
    async with watched(settings) as worker:
        await worker.supervisor.start()
        await worker.running()
        pid = worker.pid
        left = await worker.supervisor.leave()
        assert left is not None
        assert (left.pid, left.log, worker.supervisor.state) == (pid, None, OFF)
        await worker.supervisor.start()
        await worker.running()
        assert worker.pid != pid
        assert not gone(pid)
        os.kill(pid, signal.SIGTERM)
        await until(lambda: is_no_child(pid))
        left = await worker.supervisor.leave()
        assert left is not None
        assert await worker.supervisor.leave() is None
        os.kill(left.pid, signal.SIGTERM)
        await until(lambda: is_no_child(left.pid))


async def test_a_closed_supervisor_lets_its_worker_finish(
    settings: Settings, connection: Connection, stub: ProviderStub
) -> None:
    worker = Watched(settings)
    await worker.supervisor.start()
    await worker.running()
    await hold_tasks(connection, stub)
    pid = worker.pid
    before = len(asyncio.all_tasks())
    async with asyncio.timeout(1):
        await worker.supervisor.close()
    assert len(asyncio.all_tasks()) < before
    let_go(stub)
    await until(lambda: is_no_child(pid))
    assert await statuses(connection) == {"completed": 5}
