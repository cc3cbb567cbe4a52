"""A replica: everything can be seen there, nothing done, until it is promoted."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import timedelta
from typing import cast

import pytest

from embedq_tui.console.app import Console
from embedq_tui.workflows.checking import check_database
from embedq_worker.configuration.loading import load_settings
from embedq_worker.database.connections import DirectConnection, open_pool
from embedq_worker.database.following import follow
from embedq_worker.database.line import Line
from embedq_worker.database.line_watch import LineWatch
from embedq_worker.database.listener import Hearing, Listener
from embedq_worker.errors import ExitCode
from embedq_worker.insights.audit import AuditFilter
from embedq_worker.insights.audit_tail import AuditTail
from embedq_worker.insights.doctor import Check, Verdict
from embedq_worker.waits import beside
from tests.conftest import SERVER_VARIABLE
from tests.console.running import console, until_shown, until_text
from tests.support.content import statuses, until_true
from tests.support.databases import Connection, Database, Server
from tests.support.postgres import embedded_binaries, running_server
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until
from tests.support.worker_process import environment, run_worker_process

WITHIN_S = 20.0

pytestmark = pytest.mark.skipif(SERVER_VARIABLE in os.environ, reason="that server is not ours to copy")


@pytest.fixture
def replica(server: Server, database: Database) -> Iterator[Database]:
    """`database`, on a replica of its server."""
    with running_server(embedded_binaries(), following=server.url) as url:
        there = Server(url, server.version, server.has_pgvector)
        yield there.database(database.url.rpartition("/")[2])


async def test_the_console_only_looks_until_the_replica_is_promoted(
    replica: Database, connection: Connection
) -> None:
    await add_failed(connection, "first")
    async with console(replica.settings, (120, 40)) as pilot:
        session = cast(Console, pilot.app).desk.session
        assert session.read_only
        await pilot.press("2")
        await until_text(pilot, "first")
        await add_failed(connection, "second")
        await until_text(pilot, "second")  # without a signal: LISTEN is refused there

        await pilot.press("r")
        await until_text(pilot, "replica")
        assert await statuses(connection) == {"failed": 2}

        await promote(replica)
        await until_text(pilot, "No longer read-only")
        assert not session.read_only
        await until(lambda: session.store.hearing is Hearing.LISTENING)


async def test_what_is_followed_on_a_replica_is_heard_after_its_promotion(replica: Database) -> None:
    found = asyncio.Queue[str]()

    async def look(session: DirectConnection) -> AsyncIterator[None]:
        found.put_nowait(await session.fetchval("SELECT count(*)::text FROM embedding_tasks"))
        yield

    async def keep_looking() -> None:
        async with aclosing(follow(replica.settings, look, every_s=3.0, pause_s=0.05)) as looks:
            async for _ in looks:
                pass

    async with beside(keep_looking()):
        await found.get()
        await promote(replica)
        server = await replica.connect()
        # Until a look comes so soon after a commit that only a notification can have woken it.
        async with asyncio.timeout(WITHIN_S):
            while True:
                while not found.empty():
                    found.get_nowait()
                await found.get()
                before = time.monotonic()
                await add_failed(server, f"at-{before}")
                await found.get()
                if time.monotonic() - before < 1.0:
                    break


async def test_audit_rows_that_are_committed_late_are_followed_there_too(
    replica: Database, database: Database, connection: Connection
) -> None:
    """Although its snapshots do not list the transactions that are open."""
    writer, other, there = await database.connect(), await database.connect(), await replica.connect()
    tail = AuditTail(AuditFilter(), late=timedelta(0))

    async def news() -> list[str]:
        return [row.event.message async for rows in tail.news(there) for row in rows]

    async def arrives(message: str) -> None:
        await until_true(
            there, "SELECT EXISTS (SELECT FROM embedding_audit_logs WHERE message = $1)", message
        )

    assert await news() == []
    async with writer.transaction():
        await writer.execute(AUDIT_ROW, "open for long")
        await other.execute(AUDIT_ROW, "first")
        await arrives("first")
        assert await news() == ["first"]
        async with connection.transaction():
            await connection.execute(AUDIT_ROW, "late")
            await other.execute(AUDIT_ROW, "early")
            await arrives("early")
            assert await news() == ["early"]
        await arrives("late")
        assert await news() == ["late"]
    await arrives("open for long")
    assert await news() == ["open for long"]
    assert await news() == []


AUDIT_ROW = """INSERT INTO embedding_audit_logs (timestamp, level, category, message)
               VALUES (clock_timestamp(), 'info', 'performance', $1)"""


async def test_who_meets_a_server_just_before_its_promotion_soon_listens(replica: Database) -> None:
    """As after a recovery, when nobody has seen that it was a replica."""
    heard: list[Hearing] = []
    listener = Listener(replica.settings, lambda signal: None, lambda news: heard.append(news.hearing))
    async with beside(listener.run()):
        await until(lambda: heard == [Hearing.DEAF])
        await promote(replica)
        await until(lambda: heard[-1] is Hearing.LISTENING, within_s=WITHIN_S)


async def test_the_console_turns_read_only_with_its_server_and_back(replica: Database) -> None:
    await promote(replica)
    server = await replica.connect()
    async with console(replica.settings, (120, 40)) as pilot:
        session = cast(Console, pilot.app).desk.session
        await until(lambda: not session.read_only)
        await server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await server.execute("SELECT pg_reload_conf()")
        await until_text(pilot, "READ-ONLY")
        assert "this server" in session.read_only
        await pilot.press("exclamation_mark")
        await until_text(pilot, "default_transaction_read_only")
        await pilot.press("escape")
        await server.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await server.execute("SELECT pg_reload_conf()")
        await until_shown(pilot, lambda text: "READ-ONLY" not in text)
        await until_text(pilot, "No longer read-only")


async def test_a_worker_does_not_start_there_and_a_check_tells_once_why(replica: Database) -> None:
    code, worker = await run_worker_process(environment(replica))
    assert code == ExitCode.NO, worker.text
    assert not worker.heard("Traceback")
    checks: list[Check] = []
    assert await check_database(replica.settings, checks.append)
    assert [check.name for check in checks if check.verdict is Verdict.FAIL] == ["server"]


async def test_a_statement_there_may_take_its_time_while_new_connections_reach_the_primary(
    replica: Database, database: Database
) -> None:
    """As with a list of hosts of which the first was away for a moment, or a balancer before all servers."""
    async with TcpProxy(database.url) as primary:
        url = replica.url.replace("@", f"@127.0.0.1:{primary.port},")
        settings = load_settings(database_url=url)
        watch = LineWatch(settings, suspect_s=0.3, every_s=0.1)
        lines: list[Line] = []

        def opened(line: DirectConnection) -> None:
            watch.add(line)
            assert isinstance(line, Line)
            lines.append(line)
            if len(lines) == 2:
                line.on_replica = None  # as if PostgreSQL 12 or 13, which do not say so

        primary.refuses = True
        async with (
            open_pool(settings, "embedq-test", size=2, min_size=2, opened=opened) as pool,
            watch.looking(),
        ):
            primary.refuses = False
            slow = "SELECT pg_is_in_recovery() FROM pg_sleep(2)"
            assert all(await asyncio.gather(pool.fetchval(slow), pool.fetchval(slow)))


async def add_failed(connection: Connection, slug: str) -> None:
    await connection.execute(
        """INSERT INTO embedding_tasks (slug, operation, status, completed_at, error_message)
           VALUES ($1, 'create', 'failed', now(), 'no answer')""",
        slug,
    )


async def promote(replica: Database) -> None:
    await (await replica.connect()).execute("SELECT pg_promote()")
