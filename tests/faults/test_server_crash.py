"""A server that crashes before it has written to disk what nobody waited for."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.support.crashing import CrashingServer, crashing_server
from tests.support.databases import Connection, Database
from tests.support.oracle import Finding, Kind, judge
from tests.support.postgres import embedded_binaries
from tests.support.queue_world import World, open_world
from tests.support.waiting import until


@dataclass(frozen=True, slots=True)
class Scene:
    """A database whose server crashes.

    Attributes:
        crashing: The server.
        database: Migrated.
    """

    crashing: CrashingServer
    database: Database

    @asynccontextmanager
    async def before_the_crash(self) -> AsyncIterator[World]:
        """What nobody waits for is not written, and at the end of the block it is too late.

        One of the server's processes is killed: it ends all others, recovers, and goes on.
        """
        async with open_world(self.database) as world:
            writer = await world.psql.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
            )
            os.kill(writer, signal.SIGSTOP)
            yield world
            os.kill(writer, signal.SIGKILL)
            await until(world.psql.is_closed)  # until it has noticed, it takes connections as if nothing were
            assert await self.crashing.accepts()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with (
        crashing_server(embedded_binaries()) as crashing,
        crashing.server.new_database(crashing.server.template) as database,
    ):
        yield Scene(crashing, database)


async def wrong_histories(connection: Connection) -> list[Finding]:
    return [finding for finding in await judge(connection, blameless=True) if finding.kind is Kind.HISTORY]


@pytest.mark.slow
async def test_a_claim_that_a_crash_took_back_was_never_made(scene: Scene) -> None:
    async with scene.before_the_crash() as world:
        task = await world.task(await world.article())
        scope = await world.worker()
        before = await world.claim_one(scope)
    async with open_world(scene.database) as world:
        assert await world.status(task) == "pending"
        assert not await world.psql.fetch("SELECT FROM embedding_audit_logs WHERE task_id = $1", task)
        again = await world.claim_one(scope)
        assert await world.complete(scope, before) == ["lost"]
        assert await world.complete(scope, again) == ["stored"]
        assert await wrong_histories(world.psql) == []


@pytest.mark.slow
async def test_what_is_completed_survives_a_crash_with_its_claim(scene: Scene) -> None:
    async with scene.before_the_crash() as world:
        task = await world.task(await world.article())
        scope = await world.worker()
        assert await world.complete(scope, await world.claim_one(scope)) == ["stored"]
    async with open_world(scene.database) as world:
        assert await world.status(task) == "completed"
        assert await wrong_histories(world.psql) == []
