"""Several workers at once, an operator's word to them, and a provider that goes and comes back."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

import pytest

from embedq_worker.insights.health import health
from embedq_worker.insights.issues import Code
from embedq_worker.queue.words import UNANSWERED
from tests.support.content import queued_articles, statuses, until_tasks, until_true
from tests.support.databases import Connection, Database
from tests.support.oracle import judge
from tests.support.provider_stub import ProviderStub
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until
from tests.support.worker_process import environment, worker_process

pytestmark = pytest.mark.usefixtures("witness")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 4])
async def test_workers_side_by_side_do_each_task_once(
    database: Database, connection: Connection, stub: ProviderStub, workers: int
) -> None:
    await queued_articles(connection, 2000)
    variables = environment(database, stub)
    async with AsyncExitStack() as stack:
        fleet = [
            await stack.enter_async_context(
                worker_process(variables, "--drain", "--batch-size", "20", "--concurrency", "2")
            )
            for _ in range(workers)
        ]
        for worker in fleet:
            assert await worker.ended(within_s=90) == 0
            assert worker.plain_lines == []
    assert await statuses(connection) == {"completed": 2000}
    assert await judge(connection, blameless=True) == []
    assert stub.seen.inputs == 2000 + workers
    assert await connection.fetchval("SELECT sum(attempts) FROM embedding_tasks") == 2000
    row = await connection.fetchrow("SELECT is_running, tasks_succeeded FROM embedding_worker_status")
    assert row is not None
    assert tuple(row) == (False, 2000)
    shares = await connection.fetchval("SELECT array_agg(succeeded) FROM embedq_workers")
    assert min(shares) > 0


async def test_what_a_worker_did_counts_although_its_row_is_deleted(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 20)
    variables = environment(database, stub, EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=60_000)
    async with worker_process(variables, "--batch-size", "5") as worker:
        await until_tasks(connection, completed=20)
        await connection.execute("DELETE FROM embedq_workers")
        assert await worker.stop() == 0
    for counted in ("tasks_succeeded FROM embedding_worker_status", "succeeded FROM embedq_workers"):
        assert await connection.fetchval(f"SELECT {counted}") == 20


async def test_an_update_in_psql_stops_claiming_at_once_and_another_lifts_it(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await queued_articles(connection, 150)
    stub.faults.latency_s = 0.05
    variables = environment(database, stub, EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=60_000)
    async with worker_process(variables, "--batch-size", "5") as worker:
        await worker.started()
        await until_true(connection, "SELECT EXISTS (SELECT FROM embedding_tasks WHERE status = 'completed')")
        await connection.execute("UPDATE embedding_worker_status SET is_running = false")
        await until_true(
            connection, "SELECT NOT EXISTS (SELECT FROM embedding_tasks WHERE status = 'processing')"
        )
        await worker.until_heard("claiming is stopped")
        await until_true(connection, "SELECT note <> '' FROM embedq_workers")
        before = await statuses(connection)
        assert 0 < before["pending"] < 150
        await queued_articles(connection, 1, slug="more", priority="high")
        await until_true(connection, "SELECT NOT is_running FROM embedding_worker_status")
        assert (await statuses(connection))["completed"] == before["completed"]

        stub.faults.latency_s = 0
        await connection.execute("UPDATE embedding_worker_status SET is_running = true")
        await worker.until_heard("claiming goes on")
        await until_tasks(connection, completed=151)


async def test_an_update_in_psql_that_is_not_committed_holds_up_no_worker(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    psql = await database.connect()
    variables = environment(database, stub, EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=1_000)
    async with worker_process(variables) as worker:
        await worker.started()
        async with psql.transaction():
            await psql.execute("UPDATE embedding_worker_status SET is_running = is_running")
            await queued_articles(connection, 3)
            await until_tasks(connection, completed=3)
            done = "(SELECT max(completed_at) FROM embedding_tasks)"
            await until_true(connection, f"SELECT heartbeat_at > {done} FROM embedq_workers")
            async with worker_process(variables) as another:
                await another.started()
                assert await another.stop() == 0
        await until_true(connection, "SELECT tasks_processed = 3 FROM embedding_worker_status")
        assert await worker.stop() == 0
        assert worker.plain_lines == []
    assert await connection.fetchval("SELECT sum(processed) FROM embedq_workers") == 3


async def test_a_heartbeat_whose_answer_is_lost_is_counted_once(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await connection.execute(
        """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
           CREATE TRIGGER slow AFTER UPDATE ON embedding_worker_status FOR EACH ROW
               WHEN (NEW.tasks_processed > OLD.tasks_processed) EXECUTE FUNCTION slow()"""
    )
    beating = """SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                                AND wait_event = 'PgSleep' AND query LIKE '%embedq_worker_beat%')"""
    async with TcpProxy(database.url) as proxy:
        variables = environment(
            database, stub, DATABASE_URL=proxy.url, EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=1_000
        )
        async with worker_process(variables) as worker:
            await worker.started()
            await queued_articles(connection, 1)
            await until_true(connection, beating)
            proxy.cut()  # the server commits the heartbeat, and finds nobody to tell
            assert await worker.stop() == 0
    assert await connection.fetchval("SELECT processed FROM embedq_workers") == 1
    assert await connection.fetchval("SELECT tasks_processed FROM embedding_worker_status") == 1


@pytest.mark.parametrize("order", ["graceful", "force"])
async def test_one_worker_can_be_asked_to_end(
    database: Database, connection: Connection, stub: ProviderStub, order: str
) -> None:
    async with worker_process(environment(database, stub), "--batch-size", "5") as worker:
        await worker.started()
        if order == "force":
            stub.faults.latency_s = 60
            await queued_articles(connection, 5)
            await until(lambda: stub.seen.in_flight == 1)
        await connection.execute("UPDATE embedq_workers SET stop_requested = $1", order)
        await connection.execute("SELECT pg_notify('embedq_work', 'control')")
        assert await worker.ended(within_s=10) == 0
    assert not (await statuses(connection)).get("processing")


async def test_a_provider_that_is_killed_and_comes_back(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    variables = environment(
        database,
        stub,
        EMBEDDING_RETRY_BACKOFF_BASE=10,
        EMBEDDING_WORKER_INTERVAL=100,
        EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=60_000,
    )
    async with worker_process(variables, "--batch-size", "10", "--concurrency", "2") as worker:
        await worker.started()
        await stub.stop()
        await queued_articles(connection, 100)
        opened = "SELECT EXISTS (SELECT FROM embedq_providers WHERE state = 'open' AND reason <> '')"
        await until_true(connection, opened)
        await until_true(connection, "SELECT EXISTS (SELECT FROM embedq_workers WHERE note ~ 'provider')")
        assert await connection.fetchval("SELECT sum(attempts) FROM embedding_tasks") == 0
        async with stub:
            await connection.execute("UPDATE embedq_providers SET retry_at = now()")
            await worker.until_heard("requests to the provider go on")
            await until_tasks(connection, completed=100)
            await until_true(connection, "SELECT NOT EXISTS (SELECT FROM embedq_workers WHERE note <> '')")
            assert await worker.stop() == 0
    assert await judge(connection, blameless=True) == []
    assert await connection.fetchval("SELECT sum(attempts) FROM embedding_tasks") == 100


async def test_a_worker_whose_key_was_replaced_does_not_hold_up_the_others(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    stub.faults.api_key = "sk-old"
    variables = environment(
        database, stub, OPENAI_API_KEY="sk-old", EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=60_000
    )
    async with worker_process(variables) as forgotten:
        await forgotten.started()
        stub.faults.api_key = "sk-new"
        await queued_articles(connection, 1)
        await forgotten.until_heard("requests to the provider are held")
        async with worker_process(variables | {"OPENAI_API_KEY": "sk-new"}) as restarted:
            await restarted.started()
            await until_tasks(connection, completed=1)
            await until_true(connection, "SELECT EXISTS (SELECT FROM embedq_workers WHERE note ~ 'alone')")
            await queued_articles(connection, 40, slug="later")
            await until_tasks(connection, completed=41)
            assert await connection.fetchval("SELECT state FROM embedq_providers") == "closed"
            found = await health(connection, database.settings)
            assert [issue.code for issue in found.issues] == [Code.PROVIDER_OPEN]
            assert f"/{forgotten.pid}" in found.issues[0].message
            stub.faults.api_key = ""
            await until_true(connection, "SELECT NOT EXISTS (SELECT FROM embedq_workers WHERE note <> '')")
            assert await restarted.stop() == 0
        await queued_articles(connection, 1, slug="last")
        await until_tasks(connection, completed=42)
        assert await forgotten.stop() == 0
    assert await judge(connection, blameless=True) == []


async def ask_to_try(connection: Connection, stub: ProviderStub) -> None:
    """Have workers try their provider, and wait until one does."""
    tried = stub.seen.requests
    await connection.execute("NOTIFY embedq_work, 'provider'")
    await until(lambda: stub.seen.requests > tried)


async def test_a_worker_for_which_alone_the_provider_does_not_work_tries_it_on_request(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    stub.faults.api_key = "sk-new"
    async with worker_process(environment(database, stub)) as forgotten:
        await forgotten.until_heard("requests to the provider are held")
        await connection.execute("SELECT embedq_provider_works(key) FROM embedq_providers")
        await until_true(connection, "SELECT EXISTS (SELECT FROM embedq_workers WHERE note ~ 'alone')")
        async with asyncio.timeout(15):  # by itself, it tries again after 5, 10 and 20 s, or half of that
            for _ in range(3):
                await ask_to_try(connection, stub)
        stub.faults.api_key = ""
        await connection.execute("NOTIFY embedq_work, 'provider'")
        await forgotten.until_heard("requests to the provider go on")


@pytest.mark.slow
async def test_another_worker_probes_soon_where_the_one_that_did_was_killed(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    variables = environment(database, stub, EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=60_000)
    async with worker_process(variables) as prober, worker_process(variables) as other:
        await prober.started()
        await other.started()
        await stub.stop()
        await queued_articles(connection, 20)
        opened = "SELECT EXISTS (SELECT FROM embedq_providers WHERE state = 'open')"
        await until_true(connection, opened)
        await until_tasks(connection, pending=20)  # what the other one has in hand would stay there
        other.signal(signal.SIGSTOP)
        stub.faults.hold = asyncio.Event()
        async with stub:
            await connection.execute("UPDATE embedq_providers SET retry_at = now()")
            await until(lambda: stub.seen.in_flight == 1)
            await prober.kill()
            stub.faults.hold.set()
            stub.faults.hold = None
            other.signal(signal.SIGCONT)
            await other.until_heard("requests to the provider go on", within_s=20)
            assert await other.stop() == 0


async def test_a_worker_that_starts_without_a_provider_waits_for_it(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await stub.stop()
    await queued_articles(connection, 3)
    async with worker_process(environment(database, stub)) as worker:
        await worker.until_heard("requests to the provider are held")
        assert await connection.fetchval("SELECT sum(coalesce(claim_token, 0)) FROM embedding_tasks") == 0
        async with stub:
            await connection.execute("UPDATE embedq_providers SET retry_at = now()")
            await until_tasks(connection, completed=3)
            worker.signal(signal.SIGINT)
            assert await worker.ended() == 0


@pytest.mark.slow
async def test_a_request_that_is_not_answered_is_known_long_before_it_times_out(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    unanswered = f"SELECT note LIKE '{UNANSWERED}%' FROM embedq_workers"
    variables = environment(database, stub, EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=300_000)
    async with worker_process(variables) as worker:
        await worker.started()
        stub.faults.hold = asyncio.Event()
        await queued_articles(connection, 1)
        await until_true(connection, unanswered, within_s=45)
        assert (await health(connection, database.settings)).healthy
        stub.faults.hold.set()
        await until_tasks(connection, completed=1)
        await until_true(connection, "SELECT note = '' FROM embedq_workers")
        assert await worker.stop() == 0


async def test_a_provider_that_hangs_longer_than_a_batch_may_take_costs_nobody_an_attempt(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    variables = environment(
        database,
        stub,
        EMBEDDING_WORKER_TIMEOUT=1000,
        EMBEDDING_RETRY_BACKOFF_BASE=1,
        EMBEDDING_WORKER_INTERVAL=50,
    )
    async with worker_process(variables, "--batch-size", "10", "--concurrency", "4") as worker:
        await worker.started()
        stub.faults.latency_s = 60
        await queued_articles(connection, 40)
        opened = "SELECT EXISTS (SELECT FROM embedq_providers WHERE state = 'open')"
        await until_true(connection, opened, within_s=30)
    attempts = await connection.fetchrow("SELECT sum(attempts), sum(crash_count) FROM embedding_tasks")
    assert attempts is not None
    assert tuple(attempts) == (0, None)
