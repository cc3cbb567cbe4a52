"""A server that crashes before it has written to disk what nobody waited for."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator

import pytest

from tests.support.crashing import CrashingServer, crashing_server
from tests.support.databases import Connection
from tests.support.oracle import Finding, Kind, judge
from tests.support.postgres import embedded_binaries
from tests.support.queue_world import open_world
from tests.support.waiting import until


@pytest.fixture
async def crashing() -> AsyncIterator[CrashingServer]:
    async with crashing_server(embedded_binaries()) as server:
        yield server


async def without_wal_writer(connection: Connection) -> int:
    """What nobody waits for is not written from now on.

    Returns:
        The process that would do it.
    """
    pid: int = await connection.fetchval("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
    os.kill(pid, signal.SIGSTOP)
    return pid


async def crash(crashing: CrashingServer, pid: int, connection: Connection) -> None:
    """Kill one of its processes: the server ends all others, recovers, and goes on."""
    os.kill(pid, signal.SIGKILL)
    await until(connection.is_closed)  # until it has noticed, it takes connections as if nothing were
    assert await crashing.accepts()


async def wrong_histories(connection: Connection) -> list[Finding]:
    return [finding for finding in await judge(connection, blameless=True) if finding.kind is Kind.HISTORY]


@pytest.mark.slow
async def test_a_claim_that_a_crash_took_back_was_never_made(crashing: CrashingServer) -> None:
    async with crashing.server.new_database(crashing.server.template) as database:
        async with open_world(database) as world:
            task = await world.task(await world.article())
            scope = await world.worker()
            writer = await without_wal_writer(world.psql)
            before = await world.claim_one(scope)
            await crash(crashing, writer, world.psql)
        async with open_world(database) as world:
            assert await world.status(task) == "pending"
            assert not await world.psql.fetch("SELECT FROM embedding_audit_logs WHERE task_id = $1", task)
            again = await world.claim_one(scope)
            assert await world.complete(scope, before) == ["lost"]
            assert await world.complete(scope, again) == ["stored"]
            assert await wrong_histories(world.psql) == []


@pytest.mark.slow
async def test_what_is_completed_survives_a_crash_with_its_claim(crashing: CrashingServer) -> None:
    async with crashing.server.new_database(crashing.server.template) as database:
        async with open_world(database) as world:
            task = await world.task(await world.article())
            scope = await world.worker()
            writer = await without_wal_writer(world.psql)
            assert await world.complete(scope, await world.claim_one(scope)) == ["stored"]
            await crash(crashing, writer, world.psql)
        async with open_world(database) as world:
            assert await world.status(task) == "completed"
            assert await wrong_histories(world.psql) == []
