"""A server whose queue of notifications is full, because of a session that has nothing to do with us."""

from __future__ import annotations

from contextlib import suppress

import asyncpg

from tests.support.content import queued_articles, until_tasks, until_true
from tests.support.databases import inspect
from tests.support.postgres import embedded_binaries, running_server
from tests.support.provider_stub import ProviderStub
from tests.support.worker_process import environment, worker_process

SMALL = "max_notify_queue_pages = 64"


async def test_saves_orders_and_workers_go_on(stub: ProviderStub) -> None:
    with running_server(embedded_binaries(), more=SMALL) as url:
        server = await inspect(url)
        await server.make_template()
        async with server.administration() as other, server.new_database(server.template) as database:
            connection = await database.connect()
            await other.execute("LISTEN anything")
            async with server.administration() as filler, other.transaction():
                await other.execute("SELECT 1")
                with suppress(asyncpg.ProgramLimitExceededError):
                    while True:
                        await filler.execute("SELECT pg_notify('anything', repeat('x', 7000))")
                await queued_articles(connection, 3)
                variables = environment(database, stub, EMBEDDING_WORKER_INTERVAL=200)
                async with worker_process(variables) as worker:
                    await until_tasks(connection, completed=3)
                    await connection.execute("UPDATE embedding_worker_status SET is_running = false")
                    await worker.until_heard("claiming is stopped")
                    assert await worker.stop() == 0
            await until_true(connection, "SELECT pg_notification_queue_usage() < 0.5")
