"""The metrics port of a worker: what Prometheus scrapes and probes ask, while all goes well and while not."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import socket
import threading
import urllib.error
import urllib.request
from contextlib import suppress

import httpx
import pytest

from embedq_worker.service import http_port
from embedq_worker.service.exposition import WorkerTelemetry
from embedq_worker.service.http_port import Answers, StateReader, served
from embedq_worker.service.logs import open_log
from tests.support.content import queued_articles, until_tasks
from tests.support.databases import Connection, Database, Server
from tests.support.provider_stub import Fault, ProviderStub
from tests.support.scraping import ask, metrics_url, scrape, scraped
from tests.support.worker_process import environment, run_worker_process, worker_process


async def test_what_a_worker_did(database: Database, connection: Connection, stub: ProviderStub) -> None:
    await queued_articles(connection, 20)
    variables = environment(database, stub, EMBEDDING_METRICS_PORT=0)
    async with worker_process(variables, "--batch-size", "5", "--concurrency", "2") as worker:
        url = await metrics_url(worker)
        await scraped(url, "embedq_worker_tasks_total", 20, outcome="stored")
        found = await scraped(url, "embedq_tasks", 20, status="completed", priority="normal")
        assert found.value("embedq_database_up") == 1
        assert found.value("embedq_schema_current") == 1
        assert found.value("embedq_tasks", status="pending", priority="high") == 0
        assert found.value("embedq_workers", liveness="alive") == 1
        assert found.value("embedq_worker_tasks_total", outcome="failed") == 0
        assert found.value("embedq_task_duration_seconds_count") == 20
        assert found.value("embedq_claimed_tasks_total") == 20
        assert found.value("embedq_embedding_inputs_total") >= 20
        assert found.value("embedq_embedding_request_duration_seconds_count") >= 4
        assert found.value("embedq_claim_duration_seconds_count") >= 4
        assert found.value("embedq_worker_busy_seconds_total") > 0
        assert found.value("embedq_worker_slots") == 2
        assert found.value("embedq_worker_tasks_in_hand") == 0
        assert not any(name.endswith("_created") for name in found.names)
        assert (await ask(url, "/healthz")).status_code == 200
        assert (await ask(url, "/readyz")).status_code == 200
        assert (await ask(url, "/secrets")).status_code == 404
        assert (await worker.stop(), worker.plain_lines) == (0, [])


async def test_failures_of_the_provider(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    variables = environment(database, stub, EMBEDDING_METRICS_PORT=0)
    async with worker_process(variables) as worker:
        url = await metrics_url(worker)
        await worker.started()
        stub.faults.fault, stub.faults.status = Fault.STATUS, 401
        await queued_articles(connection, 1)
        await scraped(url, "embedq_health_issue", 1, code="provider_open")  # judged after all else
        found = await scraped(url, "embedq_provider_errors_total", 1, kind="misconfigured")
        states = {dict(labels)["state"]: labels for labels in found.labels("embedq_provider_state")}
        assert {name: found.samples["embedq_provider_state", states[name]] for name in states} == {
            "closed": 0,
            "cooling": 0,
            "open": 1,
        }
        assert found.value("embedq_provider_errors_total", kind="unavailable") == 0
        ready = await ask(url, "/readyz")
        assert ready.status_code == 200  # the provider's state is told, and is no reason to restart a worker
        assert "open" in ready.text
        assert "sk-test" not in ready.text + (await ask(url, "/metrics")).text


async def test_an_outage_of_the_database_is_told_and_passes(
    server: Server, database: Database, stub: ProviderStub
) -> None:
    name = database.url.rpartition("/")[2]
    async with worker_process(environment(database, stub, EMBEDDING_METRICS_PORT=0)) as worker:
        url = await metrics_url(worker)
        await worker.started()
        assert (await scrape(url)).value("embedq_database_up") == 1
        async with server.administration() as administration:
            await administration.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await administration.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
            )
            found = await scraped(url, "embedq_database_up", 0)
            assert "embedq_tasks" not in found.names
            assert "embedq_worker_tasks_total" in found.names
            assert (await ask(url, "/readyz")).status_code == 503
            assert (await ask(url, "/healthz")).status_code == 200
            await administration.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await scraped(url, "embedq_database_up", 1)
        assert (await ask(url, "/readyz")).status_code == 200


async def test_a_worker_that_stops_is_not_ready(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with worker_process(environment(database, stub, EMBEDDING_METRICS_PORT=0)) as worker:
        url = await metrics_url(worker)
        await worker.started()
        stub.faults.hold = asyncio.Event()
        await queued_articles(connection, 1)
        await until_tasks(connection, processing=1)
        worker.signal(signal.SIGTERM)
        await worker.until_heard("stopping")
        assert (await ask(url, "/readyz")).status_code == 503
        assert (await ask(url, "/healthz")).status_code == 200
        stub.faults.hold.set()
        assert await worker.ended() == 0


async def test_a_port_that_is_taken(database: Database, stub: ProviderStub) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, worker = await run_worker_process(environment(database, stub), "--metrics-port", port)
    assert code == 2
    assert 1 <= len(worker.plain_lines) <= 2
    assert port in worker.plain_lines[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--metrics-port", "70000"),
        ("--metrics-port", "0", "--metrics-host", "no.such.host.invalid"),
        ("--metrics-port", "0", "--metrics-host", "no..name"),
    ],
)
async def test_an_address_that_is_none(
    database: Database, stub: ProviderStub, arguments: tuple[str, ...]
) -> None:
    code, worker = await run_worker_process(environment(database, stub), *arguments)
    assert code == 2
    assert 1 <= len(worker.plain_lines) <= 2


async def test_without_a_port_nothing_is_served(database: Database, stub: ProviderStub) -> None:
    code, worker = await run_worker_process(environment(database, stub), "--drain")
    assert code == 0
    assert not worker.heard("metrics served")


# -- the server alone


def _serving(database: Database, stream: io.StringIO) -> Answers:
    telemetry = WorkerTelemetry("m", 1, lambda: 0)
    settings = database.settings
    return Answers(telemetry, StateReader(settings), lambda: False, open_log("json", "info", stream))


def _url(stream: io.StringIO) -> str:
    line = json.loads(stream.getvalue().splitlines()[0])
    return f"http://{line['host']}:{line['port']}"


async def test_an_event_loop_that_does_not_turn(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_port, "PATIENCE_S", 0.05)
    monkeypatch.setattr(http_port, "DATABASE_PATIENCE_S", 0.05)
    stream = io.StringIO()
    heard: list[int] = []

    def probe() -> None:
        try:
            urllib.request.urlopen(_url(stream) + "/healthz", timeout=10).close()
        except urllib.error.HTTPError as error:
            heard.append(error.code)
            error.close()

    settings = database.settings.model_copy(update={"metrics_port": 0})
    async with served(settings, _serving(database, stream)):
        thread = threading.Thread(target=probe)
        thread.start()
        thread.join()  # in the event loop, which so does nothing else
    assert heard == [503]


async def test_slow_askers_hold_nobody_up(database: Database) -> None:
    stream = io.StringIO()
    settings = database.settings.model_copy(update={"metrics_port": 0})
    async with served(settings, _serving(database, stream)):
        host, _, port = _url(stream).removeprefix("http://").rpartition(":")
        slow = [await asyncio.open_connection(host, int(port)) for _ in range(http_port.ASKERS - 1)]
        assert (await ask(_url(stream), "/healthz")).status_code == 200
        for _, writer in slow:
            writer.close()
    assert len(stream.getvalue().splitlines()) == 1  # nobody complained


async def test_a_machine_without_threads_for_a_while(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    stream = io.StringIO()
    settings = database.settings.model_copy(update={"metrics_port": 0})
    async with served(settings, _serving(database, stream)):
        with monkeypatch.context() as without:
            without.setattr(threading.Thread, "start", refuse)
            for _ in range(http_port.ASKERS):
                with pytest.raises(httpx.TransportError):
                    await ask(_url(stream), "/healthz")
        assert (await ask(_url(stream), "/healthz")).status_code == 200


async def test_who_asks_byte_by_byte_holds_no_place_for_long(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_port, "PATIENCE_S", 0.5)
    stream = io.StringIO()
    settings = database.settings.model_copy(update={"metrics_port": 0})

    async def trickle(writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(b"G")
                await writer.drain()
                await asyncio.sleep(0.05)

    async def answered() -> bool:
        with suppress(httpx.TransportError):
            return (await ask(_url(stream), "/healthz")).status_code == 200
        return False

    async with served(settings, _serving(database, stream)):
        host, _, port = _url(stream).removeprefix("http://").rpartition(":")
        slow = [await asyncio.open_connection(host, int(port)) for _ in range(http_port.ASKERS)]
        asking = [asyncio.create_task(trickle(writer)) for _, writer in slow]
        async with asyncio.timeout(10):
            while not await answered():
                pass
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        for _, writer in slow:
            writer.close()
