"""How a worker is woken, and what it does when nobody can wake it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from embedq_worker.actions import orders
from embedq_worker.configuration.loading import load_settings
from embedq_worker.database.listener import Listener
from tests.support.content import (
    add_articles,
    queue_tasks,
    queued_articles,
    statuses,
    until_tasks,
    until_true,
)
from tests.support.databases import Connection, Database, Server
from tests.support.provider_stub import Fault, ProviderStub
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until
from tests.support.worker_process import WorkerProcess, environment, worker_process

NEVER = {"EMBEDDING_WORKER_INTERVAL": 3_600_000}
"""So that polling helps nobody."""

LISTENERS = """SELECT pid FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'embedq-worker listener'
                 AND query LIKE 'LISTEN %'"""


@asynccontextmanager
async def deaf_worker(database: Database, stub: ProviderStub) -> AsyncIterator[WorkerProcess]:
    """A worker that runs, polls five times a second, and is reached by no signal."""
    async with TcpProxy(database.url, deaf=True) as proxy:
        variables = environment(database, stub, DATABASE_URL=proxy.url, EMBEDDING_WORKER_INTERVAL=200)
        async with worker_process(variables) as worker:
            await worker.started()
            yield worker


async def test_a_worker_is_woken_by_whoever_queues_a_task(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with worker_process(environment(database, stub, **NEVER)) as worker:
        await worker.started()
        for number in range(5):
            await queued_articles(connection, 1, slug=f"round-{number}")
            await until_tasks(connection, completed=number + 1)
        assert await worker.stop() == 0


async def test_a_worker_goes_on_listening_where_idle_sessions_are_ended(
    server: Server, database: Database, connection: Connection, stub: ProviderStub
) -> None:
    if server.version < 14:
        pytest.skip("there is no idle_session_timeout")
    name = await connection.fetchval("SELECT current_database()")
    async with worker_process(environment(database, stub, **NEVER)) as worker:
        await worker.started()
        # Only now, and however often the listener has to connect: a start that takes long is idle for long.
        await connection.execute(f"ALTER DATABASE {name} SET idle_session_timeout = '1s'")
        await connection.execute(
            """SELECT pg_terminate_backend(pid, 15000) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        )
        await until_true(connection, f"SELECT EXISTS ({LISTENERS})")
        listener = await connection.fetchval(LISTENERS)
        await queued_articles(connection, 1, slug="first")
        await until_tasks(connection, completed=1)
        idle = await database.connect()
        await until(idle.is_closed)
        await queued_articles(connection, 1, slug="second")
        await until_tasks(connection, completed=2)
        assert await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", listener
        )
        assert await worker.stop() == 0


@pytest.mark.slow
async def test_claims_that_failed_are_made_again_without_a_poll(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with worker_process(environment(database, stub, **NEVER)) as worker:
        await worker.started()
        await connection.execute(
            """CREATE SEQUENCE refused;
               CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN IF nextval('refused') <= 3 THEN RAISE 'no space' USING ERRCODE = 'disk_full'; END IF;
                  RETURN NULL; END $$;
               CREATE TRIGGER refuse AFTER UPDATE ON embedding_tasks FOR EACH ROW
                   WHEN (NEW.status = 'processing') EXECUTE FUNCTION refuse()"""
        )
        await queued_articles(connection, 1)
        await until_tasks(connection, completed=1)
        assert worker.heard("claiming failed")
        assert await worker.stop() == 0


async def test_a_failed_task_is_tried_again_when_it_is_due(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    variables = environment(database, stub, EMBEDDING_RETRY_BACKOFF_BASE=400, **NEVER)
    async with worker_process(variables) as worker:
        await worker.started()
        stub.faults.fault, stub.faults.times = Fault.STATUS, 1
        began = monotonic()
        await queued_articles(connection, 1)
        await until_tasks(connection, completed=1)
        assert monotonic() - began >= 0.2


async def test_a_task_queued_for_later_is_done_then(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with worker_process(environment(database, stub, **NEVER)) as worker:
        await worker.started()
        articles = await add_articles(connection, ["Text."])
        began = monotonic()
        async with connection.transaction():
            await queue_tasks(connection, articles)
            await connection.execute(
                "UPDATE embedding_tasks SET scheduled_at = now() + interval '0.5 seconds'"
            )
        await until_tasks(connection, completed=1)
        assert monotonic() - began >= 0.3


async def test_a_due_task_that_cannot_be_claimed_does_not_keep_the_worker_claiming(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await add_articles(connection, ["Text."])
    await queue_tasks(connection, articles)
    await connection.execute("UPDATE embedding_tasks SET status = 'processing', processed_at = now()")
    await queue_tasks(connection, articles)  # of the article that another program is embedding
    async with worker_process(environment(database, stub, **NEVER)) as worker:
        await worker.started()
        await until_true(
            connection,
            """SELECT clock_timestamp() - max(query_start) > interval '1 second' FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()
                 AND query LIKE '%embedq_claim(%'""",
        )
        assert await worker.stop() == 0
    assert await statuses(connection) == {"pending": 1, "processing": 1}


async def test_a_task_that_becomes_due_just_after_the_claim_is_done_at_once(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    await connection.execute(
        """ALTER FUNCTION embedq_outlook RENAME TO embedq_outlook_then;
           CREATE FUNCTION embedq_outlook(p_priorities text[], p_folders text[], p_within_ms bigint)
           RETURNS TABLE (more boolean, next_ms bigint) LANGUAGE plpgsql AS $$
           BEGIN
               PERFORM set_config('session_replication_role', 'replica', true);  -- no signal
               UPDATE embedding_tasks SET scheduled_at = now();
               RETURN QUERY SELECT * FROM embedq_outlook_then(p_priorities, p_folders, p_within_ms);
           END $$"""
    )
    async with worker_process(environment(database, stub, **NEVER)) as worker:
        await worker.started()
        articles = await add_articles(connection, ["Text."])
        async with connection.transaction():
            await queue_tasks(connection, articles)
            await connection.execute("UPDATE embedding_tasks SET scheduled_at = now() + interval '1 hour'")
        await until_tasks(connection, completed=1)


async def test_a_listening_connection_that_is_cut_is_replaced_at_once(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with worker_process(environment(database, stub, **NEVER)) as worker:
        await worker.started()
        await until_true(
            connection,
            f"SELECT pg_terminate_backend(pid) FROM ({LISTENERS}) AS listener",
        )
        await queued_articles(connection, 1)  # while nobody listens
        await worker.until_heard("listening again")
        await until_tasks(connection, completed=1)


@pytest.mark.slow
async def test_where_listen_cannot_work_the_worker_says_so_and_polls(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with deaf_worker(database, stub) as worker:
        await queued_articles(connection, 3)
        await until_tasks(connection, completed=3)
        await worker.until_heard("LISTEN does not work", within_s=25)
        assert await worker.stop() == 0


async def test_a_worker_that_nobody_can_wake_hears_orders_as_often_as_it_polls(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with deaf_worker(database, stub) as worker:
        await orders.command(connection, orders.Order.STOP, "ann@ops")
        assert await worker.ended(within_s=5) == 0  # it beats every ten seconds


@pytest.fixture
async def listening(database: Database) -> AsyncIterator[tuple[TcpProxy, list[str]]]:
    """A listener behind a proxy, and what it signalled."""
    signals: list[str] = []
    async with TcpProxy(database.url) as proxy:
        settings = load_settings(database_url=proxy.url)
        listener = Listener(settings, signals.append, lambda _: None, ping_every_s=0.2, ping_within_s=2.0)
        task = asyncio.create_task(listener.run())
        await until(lambda: signals == ["resync"])
        yield proxy, signals
        task.cancel()
        await asyncio.wait([task])


async def test_a_listening_connection_that_is_silently_dead_is_replaced(
    connection: Connection, listening: tuple[TcpProxy, list[str]]
) -> None:
    proxy, signals = listening
    await connection.execute("NOTIFY embedq_work, 'one'")
    await until(lambda: signals == ["resync", "one"])
    proxy.swallow()
    await connection.execute("NOTIFY embedq_work, 'lost'")
    await until(lambda: signals == ["resync", "one", "resync"], within_s=10)
    await connection.execute("NOTIFY embedq_work, 'two'")
    await until(lambda: signals == ["resync", "one", "resync", "two"])
    assert proxy.connections == 4  # each time one that listens, and one that tries it
