"""`start`, `stop`, `pause`, `resume`: with workers that answer, that do not, and none."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from embedq_worker.errors import INTERRUPTED, ExitCode
from tests.commands.actors import start_worker
from tests.commands.running import Tui
from tests.support.blocking import until_any_blocked
from tests.support.content import queued_articles, statuses, until_tasks, until_true
from tests.support.databases import Connection, Database
from tests.support.provider_stub import Fault, ProviderStub
from tests.support.waiting import until
from tests.support.worker_process import WorkerProcess, environment, run_worker_process, worker_process


@asynccontextmanager
async def busy_worker(
    database: Database, connection: Connection, stub: ProviderStub
) -> AsyncIterator[tuple[WorkerProcess, asyncio.Event]]:
    """A worker whose task waits for its provider, and the event that lets the provider answer."""
    async with worker_process(environment(database, stub)) as worker:
        await worker.started()
        stub.faults.hold = let_go = asyncio.Event()
        await queued_articles(connection, 1)
        await until_tasks(connection, processing=1)
        yield worker, let_go


async def test_a_stop_ends_workers_and_stands_until_start(
    tui: Tui, database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 1)
    variables = environment(database, stub, EMBEDDING_WORKER_INTERVAL=200)
    async with worker_process(variables) as first, worker_process(variables) as second:
        await asyncio.gather(first.started(), second.started())
        await until_tasks(connection, completed=1)
        document = (await tui("stop", "--json")).document("stop")
        assert [worker["state"] for worker in document["workers"]] == ["stopped", "stopped"]
        assert (document["left"], document["taken_back"], document["forced"]) == (0, 0, False)
        assert {await first.ended(), await second.ended()} == {0}
    await queued_articles(connection, 1, slug="later")
    async with worker_process(variables) as third:
        await third.until_heard("claiming is stopped")
        assert await statuses(connection) == {"completed": 1, "pending": 1}
        assert (await tui("start", "--json")).document("order") == {
            "order": "start",
            "stopped": False,
            "paused": False,
            "workers": 1,
        }
        await until_tasks(connection, completed=2)
        assert third.running


async def test_a_graceful_stop_lets_a_worker_finish(
    tui: Tui, database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with busy_worker(database, connection, stub) as (worker, let_go):
        stop = asyncio.ensure_future(tui("stop"))
        await worker.until_heard("stopping")
        let_go.set()
        assert (await stop).code == ExitCode.OK
        assert await worker.ended() == 0
    assert await statuses(connection) == {"completed": 1}


async def test_who_gives_up_waiting_for_a_stop_is_told_that_it_stands(
    tui: Tui, database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with busy_worker(database, connection, stub) as (worker, let_go):
        stop = await tui.start("stop")
        await worker.until_heard("stopping")
        stop.send_signal(signal.SIGINT)
        _, err = await stop.communicate()
        assert stop.returncode == INTERRUPTED
        assert b"embedq-tui start" in err
        let_go.set()
        assert await worker.ended() == 0


async def test_who_breaks_off_a_stop_on_its_way_is_told_that_it_may_stand(
    tui: Tui, connection: Connection
) -> None:
    async with connection.transaction():
        await connection.execute("LOCK TABLE embedq_control")
        stop = await tui.start("stop")
        await until_any_blocked(connection, within_s=30)
        stop.send_signal(signal.SIGINT)
        _, err = await stop.communicate()
    assert stop.returncode == INTERRUPTED
    assert b"embedq-tui start" in err


async def test_pause_keeps_workers_up(
    tui: Tui, database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with worker_process(environment(database, stub)) as worker:
        await worker.started()
        document = (await tui("pause", "--json")).document("order")
        assert (document["paused"], document["workers"]) == (True, 1)
        await worker.until_heard("claiming is paused")
        assert re.search('"since": "[0-9T:.-]+Z"', worker.text)
        await queued_articles(connection, 1)
        assert "Paused" in (await tui("status")).out
        assert (await tui("resume", "--json")).document("order")["paused"] is False
        await until_tasks(connection, completed=1)
        assert worker.running


@pytest.mark.parametrize("lift", [("resume", "--worker"), ("resume",)], ids=["alone", "all"])
async def test_one_worker_alone_is_paused_and_goes_on(
    tui: Tui, database: Database, connection: Connection, stub: ProviderStub, lift: tuple[str, ...]
) -> None:
    async with worker_process(environment(database, stub)) as worker:
        await worker.started()
        place = await connection.fetchval("SELECT host || '/' || pid FROM embedq_workers")
        other = await start_worker(connection)
        document = (await tui("pause", "--worker", place, "--json")).document("order")
        assert (document["order"], document["paused"], document["workers"]) == ("pause", False, 2)
        await worker.until_heard("claiming is paused")
        await until_true(connection, "SELECT note <> '' FROM embedq_workers WHERE id <> $1", other)
        await queued_articles(connection, 1)
        document = (await tui("status", "--json")).document("status")
        assert document["worker"]["paused_at"] is None
        listed = document["worker"]["workers"]
        assert [each["paused_at"] is not None for each in listed] == [True, False]
        await connection.execute("SELECT embedq_worker_stop($1, 'done')", other)
        document = (await tui("status", "--json")).document("status")
        assert document["worker"]["paused_at"]  # nobody claims
        assert await statuses(connection) == {"pending": 1}
        line = (*lift, place) if "--worker" in lift else lift
        assert (await tui(*line, "--json")).document("order")["paused"] is False
        await until_tasks(connection, completed=1)
        assert (await tui("pause", "--worker", "nobody/1")).code == ExitCode.NO


async def test_what_is_held_is_tried_at_once_by_a_worker(
    tui: Tui, database: Database, connection: Connection, stub: ProviderStub
) -> None:
    assert (await tui("probe")).code == ExitCode.OK
    stub.faults.fault, stub.faults.status = Fault.STATUS, 401
    await queued_articles(connection, 1)
    held = "SELECT EXISTS (SELECT FROM embedq_providers WHERE state = 'open')"
    async with worker_process(environment(database, stub)) as worker:
        await worker.until_heard("requests to the provider are held")
        await until_true(connection, held)
        await connection.execute(
            "UPDATE embedq_providers SET retry_at = now() + interval '5 min', failures = 9"
        )
        answer = await tui("probe", "--json")
        [probed] = answer.document("probe")["providers"]
        assert (answer.code, probed["held"], probed["answered"], probed["workers"]) == (
            ExitCode.NO,
            True,
            True,
            1,
        )
        assert probed["reason"]
        assert await connection.fetchval("SELECT failures FROM embedq_providers") == 1  # of that probe
        stub.faults.fault = Fault.NONE
        answer = await tui("probe", probed["key"])
        assert (answer.code, answer.err) == (ExitCode.OK, "")
        await until_tasks(connection, completed=1)
        assert await worker.stop() == 0
    assert (await tui("probe", probed["key"])).code == ExitCode.OK  # it is not held
    assert (await tui("probe", "no such provider")).code == ExitCode.NO


async def test_a_probe_that_hangs_holds_up_no_operator(
    tui: Tui, database: Database, connection: Connection, stub: ProviderStub
) -> None:
    stub.faults.api_key = "another"
    async with worker_process(environment(database, stub)) as worker:
        await worker.until_heard("requests to the provider are held")
        stub.faults.api_key, stub.faults.hold = "", asyncio.Event()
        await connection.execute("SELECT embedq_provider_ask(NULL, 'ann@ops')")
        await until(lambda: stub.seen.in_flight == 1)
        stub.faults.hold = None  # what hangs already goes on hanging
        assert (await tui("probe")).code == ExitCode.OK
        assert worker.running


async def test_where_no_worker_would_try_it_nobody_is_waited_for(tui: Tui, connection: Connection) -> None:
    await connection.execute(
        """INSERT INTO embedq_providers (key, state, reason, retry_at)
           VALUES ('m e', 'open', 'refused', now() + interval '5 min')"""
    )
    await start_worker(connection, silent="10 min")
    ending, elsewhere = await start_worker(connection), await start_worker(connection)
    await connection.execute("UPDATE embedq_workers SET state = 'stopping' WHERE id = $1", ending)
    await connection.execute("UPDATE embedq_workers SET provider = 'another' WHERE id = $1", elsewhere)
    answer = await tui("probe", "--json")
    [probed] = answer.document("probe")["providers"]
    assert (answer.code, probed["held"], probed["answered"], probed["workers"]) == (
        ExitCode.NO,
        True,
        False,
        0,
    )


async def test_who_does_not_try_it_in_time_is_told_of(tui: Tui, connection: Connection) -> None:
    await start_worker(connection)
    await connection.execute(
        "INSERT INTO embedq_providers (key, state, reason) VALUES ('m e', 'open', 'refused')"
    )
    answer = await tui("probe", "--timeout", "0", "--json")
    [probed] = answer.document("probe")["providers"]
    assert (answer.code, probed["answered"], probed["workers"]) == (ExitCode.NO, False, 1)


async def hold(connection: Connection, slug: str, worker: UUID | None) -> None:
    """Put a task into a worker's hands; None: another program's."""
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'processing', attempts = 1, processed_at = now(),
                  worker_id = $2, claimed_at = CASE WHEN $2::uuid IS NOT NULL THEN now() END
           WHERE slug = $1""",
        slug,
        worker,
    )


async def test_force_works_when_nobody_answers(tui: Tui, connection: Connection) -> None:
    await queued_articles(connection, 3)
    silent = await start_worker(connection, silent="10 min")
    deaf = await start_worker(connection)
    for number, worker in enumerate((silent, deaf, None)):
        await hold(connection, f"article-{number}", worker)
    answer = await tui("stop", "--timeout", "0", "--json")
    assert answer.code == ExitCode.NO
    document = answer.document("stop")
    assert (document["left"], document["taken_back"]) == (2, 0)
    assert {worker["silent"] for worker in document["workers"]} == {True, False}
    assert await statuses(connection) == {"processing": 3}

    document = (await tui("stop", "--force", "--timeout", "0", "--json")).document("stop")
    assert (document["left"], document["taken_back"]) == (0, 3)
    assert {worker["state"] for worker in document["workers"]} == {"dead"}
    assert (
        await connection.fetchval(
            """SELECT count(*) FROM embedding_tasks
           WHERE status = 'pending' AND processed_at IS NULL AND worker_id IS NULL AND attempts = 1"""
        )
        == 3
    )
    for worker in (silent, deaf):  # one that lives after all enters again, and hears that it is to end
        await connection.execute(
            "SELECT embedq_worker_start($1, 'build-7', 4711, 'key', '0.1.0', 'm e', '{}')", worker
        )
        heard = await connection.fetchrow(
            "SELECT * FROM embedq_worker_beat($1, 'running', '', 0, 0, 0, NULL)", worker
        )
        assert heard is not None
        assert (heard["block"], heard["stop_asked"]) == ("stopped", "force")


@pytest.mark.parametrize("state", ["running", "stopping"])
async def test_who_is_silent_is_not_waited_for(tui: Tui, connection: Connection, state: str) -> None:
    await start_worker(connection, silent="10 min")
    await connection.execute("UPDATE embedq_workers SET state = $1", state)
    async with asyncio.timeout(20):
        document = (await tui("stop", "--timeout", "60", "--json")).document("stop")
    assert (document["left"], [worker["silent"] for worker in document["workers"]]) == (1, [True])


async def test_force_interrupts_a_worker_that_answers(
    tui: Tui, database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with busy_worker(database, connection, stub) as (worker, let_go):
        document = (await tui("stop", "--force", "--json")).document("stop")
        assert [worker["state"] for worker in document["workers"]] == ["stopped"]
        assert await worker.ended() == 0
        let_go.set()
    assert await connection.fetchval("SELECT attempts FROM embedding_tasks WHERE status = 'pending'") == 0


async def test_start_spares_who_has_not_heard_the_stop(tui: Tui, connection: Connection) -> None:
    await start_worker(connection)
    assert (await tui("stop", "--timeout", "0")).code == ExitCode.NO
    assert await connection.fetchval("SELECT stop_requested FROM embedq_workers") == "graceful"
    assert (await tui("start")).code == ExitCode.OK
    assert await connection.fetchval("SELECT stop_requested FROM embedq_workers") is None


async def test_orders_without_workers(tui: Tui, connection: Connection) -> None:
    for order in ("stop", "start", "pause", "resume", "stop --force"):
        answer = await tui(*order.split())
        assert (answer.code, answer.err) == (ExitCode.OK, ""), order
        assert answer.out
    noted = await connection.fetchval(
        """SELECT count(*) FROM embedding_audit_logs
           WHERE category = 'queue_operations' AND metadata ? 'operator'"""
    )
    assert noted == 5


async def test_a_drain_that_is_stopped_does_not_claim_to_have_drained(
    tui: Tui, database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 100)
    stub.faults.latency_s = 0.1
    async with worker_process(environment(database, stub), "--drain") as worker:
        await worker.started()
        stub.faults.hold = asyncio.Event()
        stop = asyncio.ensure_future(tui("stop"))
        await worker.until_heard("stopping")
        stub.faults.hold.set()
        assert (await stop).code == ExitCode.OK
        assert await worker.ended() == ExitCode.NO
        assert len(worker.plain_lines) == 2
    assert (await statuses(connection))["pending"] > 0


async def test_one_worker_is_told_by_its_place_or_id(
    tui: Tui, database: Database, connection: Connection, stub: ProviderStub
) -> None:
    other = await start_worker(connection)
    async with worker_process(environment(database, stub)) as worker:
        await worker.started()
        place = await connection.fetchval(
            "SELECT host || '/' || pid FROM embedq_workers WHERE id <> $1", other
        )
        document = (await tui("concurrency", "3", "--worker", place, "--json")).document("concurrency")
        assert [(each["place"], each["was"]) for each in document["workers"]] == [(place, 1)]
        await worker.until_heard("concurrency set")
        everybody = (await tui("concurrency", "2", "--json")).document("concurrency")
        assert {each["was"] for each in everybody["workers"]} <= {None, 1, 3}
        document = (await tui("stop", "--worker", place, "--json")).document("stop")
        assert [each["state"] for each in document["workers"]] == ["stopped"]
        assert await worker.ended() == 0
    await queued_articles(connection, 2)
    await hold(connection, "article-0", other)
    await hold(connection, "article-1", None)
    document = (await tui("stop", "--worker", str(other), "--force", "--timeout", "0", "--json")).document(
        "stop"
    )
    assert (document["taken_back"], document["left"]) == (1, 0)
    assert (
        await connection.fetchval("SELECT stop_requested FROM embedq_workers WHERE id = $1", other) == "force"
    )
    assert await statuses(connection) == {"pending": 1, "processing": 1}
    assert not await connection.fetchval("SELECT stopped_at FROM embedq_control")
    for line in (("stop", "--worker", place), ("concurrency", "2", "--worker", "nobody/1")):
        answer = await tui(*line)
        assert (answer.code, bool(answer.err)) == (ExitCode.NO, True)
    assert (await tui("concurrency", "0")).code == ExitCode.USAGE


async def test_what_to_do_about_one_worker_that_does_not_end_stops_no_other(
    tui: Tui, connection: Connection
) -> None:
    deaf, other = await start_worker(connection), await start_worker(connection)
    await connection.execute("UPDATE embedq_workers SET pid = 4712 WHERE id = $1", other)
    answer = await tui("stop", "--worker", str(deaf), "--timeout", "0")
    assert answer.code == ExitCode.NO
    advised = answer.err.rpartition("embedq-tui ")[2].split()
    assert (await tui(*advised, "--timeout", "0")).code == ExitCode.OK
    asked = "SELECT stop_requested FROM embedq_workers WHERE id = $1"
    assert await connection.fetchval(asked, other) is None
    assert not await connection.fetchval("SELECT stopped_at FROM embedq_control")


async def test_orders_hold_and_workers_run_where_the_row_of_orders_was_not_restored(
    tui: Tui, database: Database, connection: Connection, stub: ProviderStub
) -> None:
    """As after a restore without the rows of embedq's tables, or a TRUNCATE of all tables."""
    for order, told in (
        (tui("pause"), "paused_at"),
        (tui("stop"), "stopped_at"),
        (connection.execute("UPDATE embedding_worker_status SET is_running = false"), "stopped_at"),
    ):
        await connection.execute("DELETE FROM embedq_control")
        await order
        assert await connection.fetchval(f"SELECT {told} IS NOT NULL FROM embedq_control")
    await connection.execute("DELETE FROM embedq_control")
    await queued_articles(connection, 1)
    code, worker = await run_worker_process(environment(database, stub), "--drain")
    assert code == 0, worker.text
    assert await statuses(connection) == {"completed": 1}


async def test_an_operator_is_recorded_whatever_the_names_of_user_and_machine(
    tui: Tui, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "w\udcf6rk-7")
    answer = await tui("pause", LOGNAME="j\udcf6rg")
    assert answer.code == ExitCode.OK, answer.err
    assert (await connection.fetchval("SELECT paused_by FROM embedq_control")).endswith("-7")
