"""A statement that waits for a lock, and what is said of the session that holds it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from embedq_worker.database import connections
from embedq_worker.database.blockers import OUT_OF_TIME, Blocked, Blocker
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


PATIENCE = (0.5, 2.0, 8.0, 32.0)
"""Seconds to wait in vain: who holds the lock must be learnt before, which takes a busy machine longer."""


async def test_who_waits_for_a_lock_in_vain_is_told_who_holds_it(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BLOCKED_S", 0.1)
    holder, between = await database.connect(), await database.connect()
    await holder.execute("BEGIN; SELECT FROM embedding_tasks")
    altering = asyncio.create_task(between.execute("ALTER TABLE embedding_tasks ADD COLUMN more int"))
    await until_true(connection, _WAITING)
    advised = f"pg_terminate_backend({holder.get_server_pid()})"
    for seconds in PATIENCE:
        monkeypatch.setattr(connections, "COMMAND_TIMEOUT_S", seconds)
        with pytest.raises(Unreachable) as told:
            async with connected(database.settings) as command:
                await command.fetchval("SELECT count(*) FROM embedding_tasks")
        if advised in told.value.advice:
            break
    assert advised in told.value.advice
    assert told.value.exit_code is ExitCode.UNREACHABLE
    await holder.execute("ROLLBACK")
    await altering


async def until_blocked(waiting: Callable[[float], Awaitable[object]]) -> None:
    for seconds in PATIENCE:
        try:
            await waiting(seconds)
        except Blocked:
            return
        except OUT_OF_TIME:
            continue
    pytest.fail("nobody told who holds the lock")


async def test_a_worker_that_waits_for_a_lock_learns_who_holds_it_while_it_waits(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "LASTING_S", 0.0)
    told: list[Blocker] = []
    watch = LineWatch(database.settings, on_blocked=told.append, suspect_s=0.1, every_s=0.05)
    refused = Refusals(watch, lambda: None)
    await connection.execute("BEGIN; LOCK TABLE embedding_tasks")
    async with open_pool(database.settings, "embedq-test", size=2, opened=watch.add) as pool, watch.looking():
        await until_blocked(
            lambda seconds: pool.fetchval("SELECT count(*) FROM embedding_tasks", timeout=seconds)
        )
        for limit in ("statement_timeout", "lock_timeout"):  # as a role or a database may have

            async def limited(seconds: float, limit: str = limit) -> None:
                async with pool.acquire() as waiting:
                    await waiting.execute(f"SET {limit} = '{seconds}s'")
                    await waiting.fetchval("SELECT count(*) FROM embedding_tasks")

            await until_blocked(limited)
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
        database.settings, on_waiting=lambda: told.append(bool(watch.waits_for)), suspect_s=0.1, every_s=0.05
    )
    refused = Refusals(watch, lambda: None)
    await connection.execute("BEGIN; LOCK TABLE embedding_tasks")
    async with (
        open_pool(database.settings, "embedq-test", size=2, opened=watch.add) as pool,
        pool.acquire() as asking,
        watch.looking(),
    ):
        waiting = asyncio.create_task(asking.fetchval("SELECT count(*) FROM embedding_tasks"))
        await until(lambda: told == [True])
        assert holder in refused.present
        assert refused.lasting == ""
        await connection.execute("SELECT pg_cancel_backend($1)", asking.get_server_pid())
        with pytest.raises(Blocked) as caught:
            await waiting
        assert refused.present == ""
        refused.refused("a claim", caught.value)
        assert holder in refused.present  # at once: it has waited long enough
        refused.ended("a claim")

        waiting = asyncio.create_task(asking.fetchval("SELECT count(*) FROM embedding_tasks"))
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
