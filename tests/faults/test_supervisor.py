"""The supervisor of the bundled worker, with real processes and real signals: no orphan, nothing lost."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from embedq_tui.supervisor.types import Patience
from embedq_worker.backoff import Backoff
from embedq_worker.configuration.loading import environment_of
from embedq_worker.configuration.settings import Settings
from tests.support.content import queued_articles, statuses, until_tasks, wrong_articles
from tests.support.databases import Connection, Database
from tests.support.processes import is_no_child
from tests.support.provider_stub import ProviderStub
from tests.support.supervised import (
    FAILED,
    IMPATIENT,
    KEY,
    OFF,
    STARTING,
    STOPPING,
    WAITING,
    hold_tasks,
    let_go,
    settings_of,
    watched,
)

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
        assert supervisor.last_exit.code == 0
        assert "worker stopped" in worker.text
        assert is_no_child(pid)
        assert await statuses(connection) == {"completed": 5}
        assert await wrong_articles(connection) == []
        await worker.until(lambda _: worker.states[-1] is OFF)  # news is merged
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
        assert supervisor.last_exit.code == -signal.SIGKILL
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
        assert supervisor.crashes == 0  # an end that was asked for is none


@pytest.mark.pgvector
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
        assert worker.supervisor.last_exit.code == -signal.SIGKILL
        assert is_no_child(frozen)
        await until_tasks(connection, completed=5)
        assert await wrong_articles(connection) == []
        attempts = await connection.fetchval("SELECT array_agg(DISTINCT attempts) FROM embedding_tasks")
        assert attempts == [1]
        states = await connection.fetchval("SELECT array_agg(state ORDER BY started_at) FROM embedq_workers")
        assert states == ["dead", "running"]


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
    fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, 8192)
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
