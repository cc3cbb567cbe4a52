"""A statement that waits for a lock, and what is said of the session that holds it."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from embedq_worker.database import connections
from embedq_worker.database.blockers import Blocked, Blocker
from embedq_worker.database.connections import connected, open_pool
from embedq_worker.database.line_watch import LineWatch
from embedq_worker.errors import ExitCode, Unreachable
from embedq_worker.service import refusals
from embedq_worker.service.refusals import Refusals
from tests.support.content import until_true
from tests.support.databases import Connection, Database
from tests.support.waiting import until

_WAITING = """SELECT EXISTS (SELECT FROM pg_stat_activity
                             WHERE datname = current_database() AND wait_event_type = 'Lock')"""


async def test_who_waits_for_a_lock_in_vain_is_told_who_holds_it(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "COMMAND_TIMEOUT_S", 3.0)
    monkeypatch.setattr(connections, "BLOCKED_S", 0.2)
    holder, between = await database.connect(), await database.connect()
    await holder.execute("BEGIN; SELECT FROM embedding_tasks")
    altering = asyncio.create_task(between.execute("ALTER TABLE embedding_tasks ADD COLUMN more int"))
    await until_true(connection, _WAITING)
    with pytest.raises(Unreachable) as told:
        async with connected(database.settings) as command:
            await command.fetchval("SELECT count(*) FROM embedding_tasks")
    assert f"pg_terminate_backend({holder.get_server_pid()})" in told.value.advice
    assert told.value.exit_code is ExitCode.UNREACHABLE
    await holder.execute("ROLLBACK")
    await altering


async def test_a_worker_that_waits_for_a_lock_learns_who_holds_it_while_it_waits(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "LASTING_S", 0.0)
    told: list[Blocker] = []
    watch = LineWatch(database.settings, on_blocked=told.append, suspect_s=0.2, every_s=0.1)
    refused = Refusals(watch, lambda: None)
    await connection.execute("BEGIN; LOCK TABLE embedding_tasks")
    async with open_pool(database.settings, "embedq-test", size=2, opened=watch.add) as pool, watch.looking():
        with pytest.raises(Blocked):
            await pool.fetchval("SELECT count(*) FROM embedding_tasks", timeout=3)
        for limit in ("statement_timeout", "lock_timeout"):  # as a role or a database may have
            async with pool.acquire() as waiting:
                await waiting.execute(f"SET {limit} = '2s'")
                with pytest.raises(Blocked):
                    await waiting.fetchval("SELECT count(*) FROM embedding_tasks")
        refused.refused("a completion, which waits too briefly", asyncpg.LockNotAvailableError("timeout"))
    assert [blocker.pid for blocker in told] == [connection.get_server_pid()]
    assert f"session {connection.get_server_pid()} " in refused.lasting
    assert "LOCK TABLE embedding_tasks" in told[0].words


async def test_a_wait_for_a_lock_is_known_until_it_is_over(
    database: Database, connection: Connection
) -> None:
    holder = f"session {connection.get_server_pid()} "
    told: list[bool] = []
    watch = LineWatch(
        database.settings, on_waiting=lambda: told.append(bool(watch.waits_for)), suspect_s=0.2, every_s=0.1
    )
    refused = Refusals(watch, lambda: None)
    await connection.execute("BEGIN; LOCK TABLE embedding_tasks")
    async with open_pool(database.settings, "embedq-test", size=2, opened=watch.add) as pool, watch.looking():
        waiting = asyncio.create_task(pool.fetchval("SELECT count(*) FROM embedding_tasks", timeout=3))
        await until(lambda: told == [True])
        assert holder in refused.present
        assert refused.lasting == ""
        with pytest.raises(Blocked) as caught:
            await waiting
        assert refused.present == ""
        refused.refused("a claim", caught.value)
        assert holder in refused.present  # at once: it has waited long enough
        refused.ended("a claim")

        waiting = asyncio.create_task(pool.fetchval("SELECT count(*) FROM embedding_tasks"))
        await until(lambda: bool(refused.present) and told[-1])
        await connection.execute("COMMIT")
        assert await waiting == 0
        assert refused.present == ""
        await until(lambda: not told[-1])


async def test_who_locks_a_table_is_found_although_no_statement_waits_for_long(
    database: Database, connection: Connection
) -> None:
    told: list[Blocker] = []
    watch = LineWatch(database.settings, on_blocked=told.append, every_s=0.1)
    refused = Refusals(watch, lambda: None)
    altering = await database.connect()
    await connection.execute("BEGIN; SELECT FROM articles")
    waiting = asyncio.create_task(altering.execute("ALTER TABLE articles ADD COLUMN more int"))
    await until_true(await database.connect(), _WAITING)
    async with watch.looking():
        refused.refused("a completion", asyncpg.LockNotAvailableError("lock timeout"))
        await until(lambda: bool(told))
    assert [blocker.pid for blocker in told] == [connection.get_server_pid()]
    await connection.execute("COMMIT")
    await waiting
