"""A primary whose synchronous replica is gone, as after a failover: whoever commits waits for ever."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from embedq_worker.database.listener import Heard, Hearing, Listener, probe_listen
from embedq_worker.insights import health as healths
from embedq_worker.insights.issues import Code, Issue
from embedq_worker.waits import beside
from tests.conftest import SERVER_VARIABLE
from tests.support.content import until_true
from tests.support.databases import Connection, Database
from tests.support.waiting import until

WAITS = "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'listens'"

pytestmark = pytest.mark.skipif(SERVER_VARIABLE in os.environ, reason="that server is not ours to configure")


@pytest.fixture
async def waiting(connection: Connection, database: Database) -> AsyncIterator[None]:
    """A commit with a NOTIFY waits for the replica; others do not: this server is asynchronous by default.

    It writes something, too: for a NOTIFY alone no replica is asked.
    """
    author = await database.connect()
    await author.execute("SET synchronous_commit = on")

    async def commit() -> None:
        while True:  # the server takes a moment to heed its configuration
            await author.execute(
                "SELECT pg_notify('any', ''), pg_logical_emit_message(true, 'any', 'change')"
            )

    async with beside(commit()), _standby(connection, "gone"):
        await until_true(connection, WAITS)
        yield


async def test_health_says_what_all_wait_for(
    connection: Connection, database: Database, waiting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Code.COMMITS_WAIT not in {issue.code for issue in await _issues(connection, database)}
    monkeypatch.setattr(healths, "COMMIT_WAITS_S", 0.0)
    first, *_ = await _issues(connection, database)
    assert first.code == Code.COMMITS_WAIT


async def test_a_pooler_is_not_blamed(connection: Connection, database: Database, waiting: None) -> None:
    with pytest.raises(asyncpg.LockNotAvailableError):
        await probe_listen(await database.connect(), await database.connect())


async def test_a_listener_that_cannot_be_tested_leaves_no_sessions_behind(
    connection: Connection, database: Database, waiting: None
) -> None:
    heard: list[Hearing] = []
    seen: set[int] = set()

    def hear(news: Heard) -> None:
        heard.append(news.hearing)

    async def sessions() -> set[int]:
        found = {row["pid"] for row in await connection.fetch(SESSIONS)}
        seen.update(found)
        return found

    listener = Listener(database.settings, lambda _: None, hear, application="listens", ping_within_s=0.2)
    async with beside(listener.run()):
        while len(seen) < 20:  # two at each try
            assert len(await sessions()) <= 6  # those of a try, and of those before while they end
            listener.hurry()
            await asyncio.sleep(0.01)
        assert heard == [Hearing.LOST]  # a pooler, or a replica, would be another matter
        async with _standby(connection, ""):
            await until(lambda: heard[-1] is Hearing.LISTENING)


async def _issues(connection: Connection, database: Database) -> tuple[Issue, ...]:
    return (await healths.health(connection, database.settings)).issues


@asynccontextmanager
async def _standby(connection: Connection, name: str) -> AsyncIterator[None]:
    """Have the server wait for a replica; for none where the name is empty."""
    await connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    await connection.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        await connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await connection.execute("SELECT pg_reload_conf()")
