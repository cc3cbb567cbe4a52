"""A database that is renamed, restored from an earlier state, or closed to a worker that goes on."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.support.content import queued_articles, until_tasks, until_true
from tests.support.databases import Connection, Database, Server
from tests.support.oracle import judge
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until
from tests.support.worker_process import BATCHES, environment, worker_process

pytestmark = pytest.mark.usefixtures("witness")


async def without_sessions(administration: Connection, database: str, *statements: str) -> None:
    """Execute statements for which nobody may be connected to a database."""
    await administration.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
    await until_true(
        administration,
        f"SELECT count(pg_terminate_backend(pid)) = 0 FROM pg_stat_activity WHERE datname = '{database}'",
    )
    for statement in statements:
        await administration.execute(statement)


CLOSED = {
    "renamed": ("ALTER DATABASE {name} RENAME TO {name}_away", "ALTER DATABASE {name}_away RENAME TO {name}"),
    "no login": ("ALTER ROLE {role} NOLOGIN", "ALTER ROLE {role} LOGIN"),
    "no connection": ("ALTER ROLE {role} CONNECTION LIMIT 0", "ALTER ROLE {role} CONNECTION LIMIT -1"),
}


@pytest.mark.parametrize("way", CLOSED)
async def test_what_is_embedded_outlives_a_database_that_lets_nobody_in(
    database: Database, server: Server, connection: Connection, stub: ProviderStub, way: str
) -> None:
    name, role = urlsplit(database.url).path[1:], f"embedq_{uuid4().hex[:8]}"
    close, reopen = (statement.format(name=name, role=role) for statement in CLOSED[way])
    variables = environment(database, stub, DATABASE_URL=database.url.replace("postgres@", f"{role}@"))
    async with server.administration() as administration:
        await administration.execute(f"CREATE ROLE {role} LOGIN IN ROLE postgres")
        async with worker_process(variables, *BATCHES) as worker:
            await worker.started()
            stub.faults.hold = asyncio.Event()
            await queued_articles(connection, 20)
            await until(lambda: stub.seen.in_flight == 2)
            await without_sessions(administration, name, close)
            stub.faults.hold.set()
            await until(lambda: stub.seen.in_flight == 0)  # now they are to be stored
            await worker.until_heard("no heartbeat")
            await administration.execute(reopen)
            await administration.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            connection = await database.connect()
            await until_tasks(connection, completed=20)
            assert await worker.stop() == 0
            assert not worker.heard("a batch failed")
        await administration.execute(f"DROP ROLE {role}")
    assert stub.seen.inputs == 21  # one is the check at start: nothing was embedded twice
    assert await judge(connection, blameless=True) == []


@pytest.mark.slow
async def test_after_a_restore_the_worker_goes_on_from_the_restored_state(
    database: Database, server: Server, connection: Connection, stub: ProviderStub
) -> None:
    """As after a failover to a replica that lacked the last commits."""
    name = urlsplit(database.url).path[1:]
    open_it = f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"
    await queued_articles(connection, 60)
    stub.faults.latency_s = 0.1
    async with (
        server.administration() as administration,
        worker_process(environment(database, stub), *BATCHES) as worker,
    ):
        await until(lambda: stub.seen.in_flight == 2)
        await without_sessions(administration, name, f"CREATE DATABASE {name}_old TEMPLATE {name}", open_it)
        connection = await database.connect()
        await until_tasks(connection, completed=60)
        stub.faults.hold = asyncio.Event()
        await queued_articles(connection, 20, slug="lost")
        await until(lambda: stub.seen.in_flight == 2)
        await without_sessions(
            administration,
            name,
            f"DROP DATABASE {name}",
            f"ALTER DATABASE {name}_old RENAME TO {name}",
            open_it,
        )
        stub.faults.hold.set()
        connection = await database.connect()
        await until_tasks(connection, completed=60, within_s=90)
        assert await worker.stop() == 0
    assert await judge(connection, blameless=True) == []
