"""A statement that waits for a lock, and what is said of the session that holds it."""

from __future__ import annotations

import asyncio

import pytest

from embedq_worker.database import connections
from embedq_worker.database.connections import connected
from embedq_worker.errors import ExitCode, Unreachable
from tests.support.content import until_true
from tests.support.databases import Connection, Database

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
