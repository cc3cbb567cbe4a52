"""`embedq-worker` as a process: how it begins and ends, and what it says."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from embedq_worker.errors import INTERRUPTED, ExitCode
from tests.support.blocking import until_any_blocked
from tests.support.content import (
    add_articles,
    queue_tasks,
    queued_articles,
    statuses,
    until_tasks,
    until_true,
)
from tests.support.databases import Connection, Database
from tests.support.postgres import free_port
from tests.support.provider_stub import Fault, ProviderStub
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until
from tests.support.worker_process import environment, run_worker_process, worker_process

# -- what keeps it from working


async def test_without_a_database_it_ends_with_3(database: Database, stub: ProviderStub) -> None:
    variables = environment(database, stub) | {
        "DATABASE_URL": f"postgresql://me:geheim@127.0.0.1:{free_port()}/x"
    }
    code, worker = await run_worker_process(variables)
    assert code == 3
    assert len(worker.plain_lines) == 2
    assert "geheim" not in worker.text


async def test_ctrl_c_while_the_database_does_not_answer_is_no_failure(
    database: Database, stub: ProviderStub
) -> None:
    async with TcpProxy(database.url) as proxy:
        proxy.delay_s = 60.0
        async with worker_process(environment(database, stub, DATABASE_URL=proxy.url)) as worker:
            await until(lambda: proxy.connections > 0)
            worker.signal(signal.SIGINT)
            assert (await worker.ended(within_s=10), worker.lines) == (INTERRUPTED, [])


BEGUN = """
import embedq_worker.process.start as beginning
from embedq_worker.__main__ import main

uninterrupted = beginning.uninterrupted
beginning.uninterrupted = lambda: print(flush=True) or uninterrupted()  # from here on it answers Ctrl-C
main()
"""


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.15, 0.3])
async def test_ctrl_c_while_it_is_loaded_is_no_failure(
    database: Database, stub: ProviderStub, after_s: float
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        BEGUN,
        env=environment(database, stub, LOG_LEVEL="error"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    await asyncio.sleep(after_s)
    process.send_signal(signal.SIGINT)
    _, said = await process.communicate()
    assert (process.returncode in (0, INTERRUPTED), said) == (True, b"")


WHILE_IT_IMPORTS = """
import os, signal, sys

class Interrupting:
    def find_spec(name, *where):
        if name == "embedq_worker.process.output":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting)
from embedq_worker.__main__ import main
main()
"""


def test_ctrl_c_at_its_first_imports_is_no_failure() -> None:
    done = subprocess.run([sys.executable, "-c", WHILE_IT_IMPORTS], capture_output=True)
    assert (done.returncode, done.stderr) == (INTERRUPTED, b"")


async def test_without_the_database_of_that_name_it_ends_with_3(
    database: Database, stub: ProviderStub
) -> None:
    variables = environment(database, stub) | {"DATABASE_URL": f"{database.url}_not"}
    code, worker = await run_worker_process(variables)
    assert (code, len(worker.plain_lines)) == (3, 2)


async def test_a_drain_without_a_provider_ends_with_3(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 3)
    variables = environment(database, OPENAI_BASE_URL=f"http://127.0.0.1:{free_port()}/v1")
    code, worker = await run_worker_process(variables, "--drain")
    assert (code, len(worker.plain_lines)) == (3, 2)
    assert await statuses(connection) == {"pending": 3}
    assert await connection.fetchval("SELECT array_agg(state) FROM embedq_workers") == ["stopped"]


async def test_a_drain_with_a_wrong_key_ends_with_1_and_the_remedy(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 3)
    stub.faults.api_key = "sk-right"
    code, worker = await run_worker_process(environment(database, stub), "--drain")
    assert (code, len(worker.plain_lines)) == (1, 2)
    assert "OPENAI_API_KEY" in worker.plain_lines[1]
    assert await statuses(connection) == {"pending": 3}
    stub.faults.api_key = ""  # put right; nobody waits for the next probe
    await connection.execute("UPDATE embedq_providers SET retry_at = now() + interval '5 min'")
    code, _ = await run_worker_process(environment(database, stub), "--drain")
    assert (code, await statuses(connection)) == (0, {"completed": 3})


async def test_on_a_database_not_migrated_it_ends_with_1_and_the_remedy(
    empty_database: Database, stub: ProviderStub
) -> None:
    code, worker = await run_worker_process(environment(empty_database, stub))
    assert (code, len(worker.plain_lines)) == (1, 2)
    assert "--migrate" in worker.text


@pytest.mark.pgvector
async def test_vectors_that_do_not_fit_the_column_end_it_with_2(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await connection.execute("ALTER TABLE embeddings ALTER COLUMN vector TYPE vector(768)")
    code, worker = await run_worker_process(environment(database, stub, EMBEDDING_DIMENSIONS=256))
    assert (code, len(worker.plain_lines)) == (2, 2)
    assert "768" in worker.text


# -- ending


async def test_after_sigterm_what_is_in_flight_is_finished(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with worker_process(
        environment(database, stub), "--batch-size", "5", "--concurrency", "2"
    ) as worker:
        await worker.started()
        stub.faults.latency_s = 0.5
        await queued_articles(connection, 30)
        await until(lambda: stub.seen.in_flight == 2)
        assert await worker.stop() == 0
    left = await statuses(connection)
    assert left["completed"] >= 10
    assert left["completed"] + left.get("pending", 0) == 30
    assert await connection.fetchval("SELECT sum(attempts) FROM embedding_tasks") == left["completed"]
    assert await connection.fetchval("SELECT array_agg(state) FROM embedq_workers") == ["stopped"]


@pytest.mark.parametrize(
    "signals", [[signal.SIGTERM], [signal.SIGTERM] * 2, [signal.SIGINT] * 2, [signal.SIGHUP]]
)
async def test_what_is_not_finished_in_the_grace_time_or_after_a_second_signal_is_given_back(
    database: Database, connection: Connection, stub: ProviderStub, signals: list[signal.Signals]
) -> None:
    grace_ms = 300 if len(signals) == 1 else 60_000
    variables = environment(database, stub, EMBEDDING_SHUTDOWN_GRACE=grace_ms)
    async with worker_process(variables, "--batch-size", "5", "--concurrency", "2") as worker:
        await worker.started()
        stub.faults.latency_s = 60.0
        await queued_articles(connection, 30)
        await until(lambda: stub.seen.in_flight == 2)
        worker.signal(signals[0])
        await worker.until_heard("stopping")
        for number in signals[1:]:
            worker.signal(number)
        assert await worker.ended(within_s=10) == 0
        assert worker.plain_lines == []
    assert await statuses(connection) == {"pending": 30}
    assert await connection.fetchval("SELECT sum(attempts) FROM embedding_tasks") == 0


@pytest.mark.parametrize("claims", [True, False])
async def test_a_wait_for_a_lock_is_given_up_after_a_second_signal(
    database: Database, connection: Connection, stub: ProviderStub, claims: bool
) -> None:
    async with worker_process(environment(database, stub)) as worker:
        if claims:
            await worker.started()
        async with connection.transaction():
            await connection.execute("LOCK TABLE embedding_tasks")
            await worker.until_heard("worker started")
            await (await database.connect()).execute("NOTIFY embedq_work")
            await until_any_blocked(connection)
            worker.signal(signal.SIGTERM)
            await worker.until_heard("stopping")
            worker.signal(signal.SIGTERM)
            await worker.until_heard("the grace period is over")
        assert await worker.ended(within_s=10) == 0


async def test_splitting_a_huge_article_keeps_nobody_waiting(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    variables = environment(database, stub, EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=3000)
    async with worker_process(variables, "--concurrency", "2") as worker:
        await worker.started()
        text = "# h\ntext\n" * 500_000  # takes 18 s on an idle machine
        await queue_tasks(connection, await add_articles(connection, [text], slug="huge"))
        await until_tasks(connection, processing=1)
        await queued_articles(connection, 1)
        await until_tasks(connection, processing=1, completed=1)
        silence = "SELECT extract(epoch FROM clock_timestamp() - heartbeat_at)::float FROM embedq_workers"
        silences = []
        for _ in range(20):
            silences.append(await connection.fetchval(silence))
            await asyncio.sleep(0.1)
        assert max(silences) < 3
        worker.signal(signal.SIGTERM)
        await worker.until_heard("stopping")
        worker.signal(signal.SIGTERM)
        assert await worker.ended(within_s=5) == 0
    assert await statuses(connection) == {"completed": 1, "pending": 1}


async def test_a_terminal_that_is_closed_ends_nobody_under_nohup(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what a process inherits
    try:
        async with worker_process(environment(database, stub)) as worker:
            await worker.started()
            worker.signal(signal.SIGHUP)
            await queued_articles(connection, 1)
            await until_tasks(connection, completed=1)
            assert await worker.stop() == 0
            assert "SIGHUP" not in worker.text
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_that_go_on_until_the_process_is_gone_end_it_as_one_does(
    database: Database, stub: ProviderStub, number: signal.Signals
) -> None:
    async with worker_process(environment(database, stub)) as worker:
        await worker.started()
        while worker.running:
            worker.signal(number)
            await asyncio.sleep(0.02)
        assert await worker.ended() == 0
        assert worker.plain_lines == []


async def test_a_signal_is_obeyed_while_the_provider_is_being_checked(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    stub.faults.latency_s = 60.0
    async with worker_process(environment(database, stub)) as worker:
        await until(lambda: stub.seen.in_flight == 1)
        worker.signal(signal.SIGTERM)
        assert await worker.ended(within_s=10) == 0
    assert await connection.fetchval("SELECT array_agg(state) FROM embedq_workers") == ["stopped"]


async def test_a_worker_beats_while_the_provider_is_being_checked(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    stub.faults.latency_s = 60.0
    async with worker_process(environment(database, stub, EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=300)):
        await until(lambda: stub.seen.in_flight == 1)
        first = await connection.fetchval("SELECT heartbeat_at FROM embedq_workers")
        await until_true(connection, "SELECT heartbeat_at > $1 FROM embedq_workers", first)


# -- what it says


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


async def test_no_secret_comes_out(database: Database, connection: Connection) -> None:
    secret = "sk-geheimnis-1234567890"
    await queued_articles(connection, 3)
    async with ProviderStub() as stub:
        stub.faults.fault, stub.faults.status = Fault.STATUS, 500
        stub.faults.body = json.dumps({"error": {"message": f"bad key {secret} in Bearer {secret}"}})
        variables = environment(database, stub, OPENAI_API_KEY=secret, LOG_LEVEL="debug")
        async with worker_process(variables) as worker:
            await worker.started()
            arguments = command_line(worker.pid)
            await worker.until_heard("requests to the provider are held")
            stub.faults.body = f"{secret} is not {secret}"
            await connection.execute("UPDATE embedq_providers SET state = 'closed'")
            await queued_articles(connection, 1, slug="more")
            await until(lambda: stub.seen.requests > 2)
            stub.faults.status = 401
            await worker.stop()
    assert stub.seen.authorizations[-1] == f"Bearer {secret}"
    assert secret not in worker.text
    assert secret not in arguments
    tables = await connection.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^embed'")
    for table in tables:
        rows = await connection.fetch(f"SELECT t::text AS row FROM {table['relname']} t")
        assert not any(secret in row["row"] for row in rows), table["relname"]


@pytest.mark.parametrize(
    ("log", "form"),
    [("2>/dev/full", "text"), ("2>/dev/full", "json"), ("2>&-", "json"), ("<&- >&- 2>&-", "text")],
)
async def test_a_log_that_cannot_be_written_keeps_no_task_from_being_done(
    database: Database, connection: Connection, stub: ProviderStub, log: str, form: str
) -> None:
    await queued_articles(connection, 3)
    worker = await asyncio.create_subprocess_shell(
        f"exec {sys.executable} -P -m embedq_worker --drain --log-level debug --log-format {form} {log}",
        env=environment(database, stub),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, _ = await worker.communicate()
    assert (worker.returncode, out) == (0, b"")
    assert await statuses(connection) == {"completed": 3}


async def test_a_failure_that_cannot_be_told_is_told_by_the_exit_code() -> None:
    worker = await asyncio.create_subprocess_shell(
        f"exec {sys.executable} -P -m embedq_worker --drain 2>/dev/full",
        env={"PATH": os.environ["PATH"], "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"},
    )
    assert await worker.wait() == ExitCode.UNREACHABLE


async def test_logs_are_json_line_by_line(
    database: Database, connection: Connection, stub: ProviderStub, tmp_path: Path
) -> None:
    passwords = tmp_path / ".pgpass"
    passwords.write_text("*:*:*:*:secret\n")
    passwords.chmod(0o644)  # of which asyncpg warns
    await queue_tasks(connection, await add_articles(connection, ["POISON\x1b[31m", "fine"]))
    stub.faults.poison = "POISON"
    variables = environment(database, stub, LOG_LEVEL="debug", PGPASSFILE=str(passwords))
    code, worker = await run_worker_process(variables, "--drain", "--batch-size", "2")
    assert code == 0
    assert worker.plain_lines == []
    assert any(str(passwords) in log["event"] for log in worker.logs)
    assert {"event", "level", "timestamp"} <= set.intersection(*(set(log) for log in worker.logs))
