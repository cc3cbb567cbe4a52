"""The supervisor of the bundled worker, with real processes and real signals: no orphan, nothing lost."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from embedq_tui.supervisor.supervisor import Supervisor
from embedq_tui.supervisor.types import Patience, WorkerOptions, WorkerState
from embedq_worker.backoff import Backoff
from embedq_worker.configuration import environment_of
from embedq_worker.settings import Settings
from tests.support.content import queued_articles, statuses, until_tasks, until_true, wrong_articles
from tests.support.databases import DIMENSIONS, Connection, Database
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
KEY = "sk-geheimnis-987654"
QUICK = Patience(restart=Backoff(0.01, 0.02))
IMPATIENT = Patience(grace_s=0.3, forced_s=0.3, restart=Backoff(0.01, 0.02))

OFF, STARTING, RUNNING, STOPPING, WAITING, FAILED = WorkerState


@pytest.fixture
async def stub() -> AsyncIterator[ProviderStub]:
    async with ProviderStub() as running:
        yield running


@pytest.fixture
def settings(database: Database, stub: ProviderStub) -> Settings:
    return settings_of(database, stub)


def settings_of(database: Database, stub: ProviderStub, **values: Any) -> Settings:
    wanted = {
        "EMBEDDING_PROVIDER": "openai",
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": stub.openai_url,
        "EMBEDDING_MODEL": "stub",
        "EMBEDDING_DIMENSIONS": DIMENSIONS,
        "DATABASE_URL": database.url,
        **values,
    }
    return Settings.model_validate(wanted)


class Watched:
    """A supervisor, and what it told."""

    def __init__(self, settings: Settings, patience: Patience = QUICK, **options: Any) -> None:
        self.states: list[WorkerState] = []
        chosen = WorkerOptions(**{"batch_size": 5, "concurrency": 2} | options)
        self.supervisor = Supervisor(settings, chosen, on_change=self._changed, patience=patience)

    def _changed(self) -> None:
        if not self.states or self.states[-1] is not self.supervisor.state:
            self.states.append(self.supervisor.state)

    @property
    def pid(self) -> int:
        assert self.supervisor.pid is not None
        return self.supervisor.pid

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.supervisor.log.since(0))

    async def until(self, condition: Callable[[Supervisor], bool], within_s: float = 15.0) -> None:
        try:
            await until(lambda: condition(self.supervisor), within_s=within_s)
        except TimeoutError:
            raise AssertionError(f"{self.supervisor.state}: {self.text}") from None

    async def running(self) -> None:
        await self.until(lambda supervisor: supervisor.state is RUNNING)


@asynccontextmanager
async def watched(settings: Settings, patience: Patience = QUICK, **options: Any) -> AsyncIterator[Watched]:
    made = Watched(settings, patience, **options)
    try:
        yield made
    finally:
        await made.supervisor.kill()
        await made.supervisor.close()


def gone(pid: int) -> bool:
    """Whether a process is no more, or only waits for somebody who is not us to look at it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def is_no_child(pid: int) -> bool:
    """Whether no zombie of ours is left of it."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


async def hold_tasks(connection: Connection, stub: ProviderStub, *, count: int = 5) -> None:
    """Let the worker, which is past its checks, claim tasks and wait for the provider in vain."""
    await queued_articles(connection, 1, slug="first")
    await until_tasks(connection, completed=1)
    await connection.execute("DELETE FROM embedding_tasks")
    stub.faults.hold = asyncio.Event()
    await queued_articles(connection, count)
    await until(lambda: stub.seen.in_flight >= 1, within_s=15)


def let_go(stub: ProviderStub) -> None:
    assert stub.faults.hold is not None
    stub.faults.hold.set()
    stub.faults.hold = None


# -- start and stop


async def test_a_worker_is_started_and_stopped_with_what_it_holds_finished(
    settings: Settings, connection: Connection, stub: ProviderStub
) -> None:
    async with watched(settings) as worker:
        supervisor = worker.supervisor
        assert (supervisor.state, supervisor.pid, supervisor.started_at) == (OFF, None, None)
        await supervisor.start()
        assert supervisor.state is STARTING
        pid = worker.pid
        await supervisor.start()
        await worker.running()
        assert worker.pid == pid
        assert os.getsid(pid) == os.getpgid(pid) == pid
        assert KEY not in " ".join(psutil.Process(pid).cmdline())
        await hold_tasks(connection, stub)
        row = await connection.fetchrow("SELECT id, pid, settings::text FROM embedq_workers")
        assert row is not None
        assert (row["id"], row["pid"]) == (supervisor.worker_id, pid)
        assert '"batch_size": 5' in row["settings"]

        stopping = asyncio.create_task(supervisor.stop())
        await worker.until(lambda supervisor: supervisor.state is STOPPING)
        let_go(stub)
        await stopping
        assert (supervisor.state, supervisor.pid, supervisor.reason) == (OFF, None, "")
        assert supervisor.last_exit is not None
        assert (supervisor.last_exit.code, supervisor.last_exit.asked) == (0, True)
        assert "worker stopped" in supervisor.last_exit.lines[-1]
        assert is_no_child(pid)
        assert await statuses(connection) == {"completed": 5}
        assert await wrong_articles(connection) == []
        await asyncio.sleep(0.1)  # news is merged
        assert worker.states[-1] is OFF
        assert KEY not in worker.text

        await supervisor.restart()
        await worker.running()
        assert worker.pid != pid
        await supervisor.stop()
        await supervisor.stop()


async def test_a_worker_whose_provider_hangs_is_forced_after_the_grace_time(
    settings: Settings, connection: Connection, stub: ProviderStub
) -> None:
    async with watched(settings, Patience(grace_s=0.2)) as worker:
        await worker.supervisor.start()
        await worker.running()
        await hold_tasks(connection, stub)
        await worker.supervisor.stop()
        assert worker.supervisor.last_exit is not None
        assert worker.supervisor.last_exit.code == 0
        assert await statuses(connection) == {"pending": 5}


async def test_a_stop_under_way_is_hurried_by_a_second_word(
    settings: Settings, connection: Connection, stub: ProviderStub
) -> None:
    async with watched(settings) as worker:
        await worker.supervisor.start()
        await worker.running()
        await hold_tasks(connection, stub)
        stopping = asyncio.create_task(worker.supervisor.stop())
        await worker.until(lambda supervisor: supervisor.state is STOPPING)
        async with asyncio.timeout(10):
            await worker.supervisor.force()
            await stopping
        assert await statuses(connection) == {"pending": 5}


async def test_a_stop_before_the_worker_came_up_is_heeded(settings: Settings) -> None:
    async with watched(settings) as worker:
        await worker.supervisor.start()
        pid = worker.pid
        await worker.supervisor.stop()
        assert worker.supervisor.state is OFF
        assert is_no_child(pid)


# -- crashes


async def test_a_killed_worker_is_started_again_until_it_was_killed_too_often(
    settings: Settings, connection: Connection, stub: ProviderStub
) -> None:
    patience = Patience(restart=Backoff(0.01, 0.02), crashes=2)
    async with watched(settings, patience) as worker:
        supervisor = worker.supervisor
        await supervisor.start()
        await worker.running()
        await hold_tasks(connection, stub)
        first, first_id = worker.pid, supervisor.worker_id
        os.kill(first, signal.SIGKILL)
        await worker.until(lambda supervisor: supervisor.crashes == 1)
        assert supervisor.last_exit is not None
        assert (supervisor.last_exit.signal, supervisor.last_exit.code) == ("SIGKILL", None)
        assert any("worker started" in line for line in supervisor.last_exit.lines)
        let_go(stub)
        await worker.running()
        assert worker.pid != first
        assert supervisor.worker_id != first_id
        await until_tasks(connection, completed=5)
        assert await wrong_articles(connection) == []

        os.kill(worker.pid, signal.SIGKILL)
        await worker.until(lambda supervisor: supervisor.state is FAILED)
        assert supervisor.reason
        assert supervisor.pid is None
        await supervisor.start()  # an operator may know better
        assert supervisor.crashes == 0
        await worker.running()


async def test_a_wait_for_the_next_start_can_be_ended_either_way(
    empty_database: Database, stub: ProviderStub
) -> None:
    async with watched(settings_of(empty_database, stub), Patience(restart=Backoff(60, 60))) as worker:
        supervisor = worker.supervisor
        await supervisor.start()
        await worker.until(lambda supervisor: supervisor.state is WAITING)
        assert supervisor.last_exit is not None
        assert (supervisor.last_exit.code, supervisor.crashes) == (1, 1)
        assert supervisor.restart_at is not None
        await supervisor.start()
        assert supervisor.pid is not None
        await worker.until(lambda supervisor: supervisor.state is WAITING)
        await supervisor.stop()
        await worker.until(lambda supervisor: supervisor.state is OFF and supervisor.restart_at is None)


async def test_a_worker_is_not_started_again_where_that_would_not_help(
    database: Database, stub: ProviderStub
) -> None:
    async with watched(settings_of(database, stub, EMBEDDING_DIMENSIONS=77)) as worker:
        await worker.supervisor.start()
        await worker.until(lambda supervisor: supervisor.state is FAILED)
        assert worker.supervisor.crashes == 0
        assert worker.supervisor.last_exit is not None
        assert worker.supervisor.last_exit.code == 2
    async with watched(settings_of(database, stub, EMBEDDING_QUEUE_ENABLED=False)) as worker:
        await worker.supervisor.start()
        await worker.until(lambda supervisor: supervisor.state is OFF)
        assert "EMBEDDING_QUEUE_ENABLED" in worker.supervisor.reason


async def test_a_frozen_worker_is_reset_and_its_tasks_are_done_by_the_next(
    settings: Settings, connection: Connection, stub: ProviderStub
) -> None:
    async with watched(settings, IMPATIENT) as worker:
        await worker.supervisor.start()
        await worker.running()
        await hold_tasks(connection, stub)
        frozen = worker.pid
        os.kill(frozen, signal.SIGSTOP)
        let_go(stub)
        assert await worker.supervisor.reset() == 5
        assert worker.supervisor.last_exit is not None
        assert worker.supervisor.last_exit.signal == "SIGKILL"
        assert is_no_child(frozen)
        await until_tasks(connection, completed=5)
        assert await wrong_articles(connection) == []
        attempts = await connection.fetchval("SELECT array_agg(DISTINCT attempts) FROM embedding_tasks")
        assert attempts == [1]
        states = await connection.fetchval("SELECT array_agg(state ORDER BY started_at) FROM embedq_workers")
        assert states == ["dead", "running"]


# -- a console that ends


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
        await until(lambda: gone(worker), within_s=15)
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
        await until(lambda: gone(worker), within_s=15)
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
        await until(lambda: is_no_child(pid), within_s=15)
        left = await worker.supervisor.leave()
        assert left is not None
        assert await worker.supervisor.leave() is None
        os.kill(left.pid, signal.SIGTERM)
        await until(lambda: is_no_child(left.pid), within_s=15)


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
    await until(lambda: is_no_child(pid), within_s=15)
    assert await statuses(connection) == {"completed": 5}


# -- what a worker writes


async def test_a_worker_that_writes_without_end_costs_no_memory(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "embedq_worker").mkdir()
    (tmp_path / "embedq_worker" / "__init__.py").touch()
    (tmp_path / "embedq_worker" / "__main__.py").write_text(
        "import sys\n"
        "for number in range(100_000):\n"
        "    print(f'  line {number}\\x1b[2J', 'x' * 50)\n"
        "sys.stdout.flush()\n"
        "sys.stderr.write('y' * 5_000_000 + '\\nthe end')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with watched(settings) as worker:
        log = worker.supervisor.log
        memory = psutil.Process().memory_info().rss
        await worker.supervisor.start()
        seen = log.next_number
        await worker.until(lambda supervisor: supervisor.state is OFF, within_s=60)
        assert psutil.Process().memory_info().rss - memory < 20_000_000
    own = [line for line in log.since(0) if not line.ours]
    assert sum(not line.ours for line in log.since(seen)) == len(own) < 100_000 < log.next_number
    assert [line.number for line in own] == list(range(own[0].number, own[0].number + len(own)))
    assert own[-1].text == "the end"
    assert own[-2].text.endswith("y…")
    assert own[-3].text == f"  line 99999\ufffd[2J {'x' * 50}"
    assert log.since(log.next_number) == []
    assert log.since(own[-1].number)[0] == own[-1]


async def test_a_worker_whose_output_nobody_reads_goes_on(settings: Settings, connection: Connection) -> None:
    unread, output = os.pipe()
    fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, 4096)
    ours, its = socket.socketpair()
    with ours, its:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "embedq_worker", "--lifeline", str(its.fileno())),
            env=environment_of(settings.model_copy(update={"log_level": "debug"}), os.environ),
            pass_fds=[its.fileno()],
            stdout=output,
            stderr=output,
        )
        its.close()
        os.close(output)
        await queued_articles(connection, 40)
        await until_tasks(connection, within_s=40, completed=40)
        assert len(os.read(unread, 10_000)) > 3_000
        os.close(unread)
        await queued_articles(connection, 5, slug="later")
        await until_tasks(connection, completed=45)
        assert process.returncode is None
        ours.close()
        async with asyncio.timeout(15):
            assert await process.wait() == 0


async def test_a_lifeline_that_is_none_is_refused(settings: Settings) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "embedq_worker", "--lifeline", "0"),
        env=environment_of(settings, os.environ),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"--lifeline" in said
