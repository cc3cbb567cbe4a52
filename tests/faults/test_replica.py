"""A replica: everything can be seen there, nothing done, until it is promoted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import cast

import pytest

from embedq_tui.console.app import Console
from embedq_worker.errors import ExitCode
from tests.conftest import SERVER_VARIABLE
from tests.console.running import console, eventually, until_shown, until_text
from tests.support.content import statuses
from tests.support.databases import Connection, Database, Server
from tests.support.postgres import embedded_binaries, running_server
from tests.support.worker_process import environment, run_worker_process

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


async def test_the_console_turns_read_only_with_its_server_and_back(replica: Database) -> None:
    await promote(replica)
    server = await replica.connect()
    async with console(replica.settings, (120, 40)) as pilot:
        session = cast(Console, pilot.app).desk.session
        await eventually(lambda: not session.read_only)
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


async def test_a_worker_does_not_start_there(replica: Database) -> None:
    code, worker = await run_worker_process(environment(replica))
    assert code == ExitCode.NO, worker.text
    assert not worker.heard("Traceback")


async def add_failed(connection: Connection, slug: str) -> None:
    await connection.execute(
        """INSERT INTO embedding_tasks (slug, operation, status, completed_at, error_message)
           VALUES ($1, 'create', 'failed', now(), 'no answer')""",
        slug,
    )


async def promote(replica: Database) -> None:
    await (await replica.connect()).execute("SELECT pg_promote()")
