"""A server that is put back to an earlier state, as by a restored backup, while a worker runs."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.support.content import queued_articles, until_tasks, until_true
from tests.support.crashing import crashing_server
from tests.support.oracle import judge
from tests.support.postgres import embedded_binaries
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until
from tests.support.worker_process import BATCHES, environment, worker_process


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True])
async def test_a_worker_goes_on_with_what_is_there_now(stub: ProviderStub, known: bool) -> None:
    async with (
        crashing_server(embedded_binaries()) as crashing,
        crashing.server.new_database(crashing.server.template) as database,
    ):
        connection = await database.connect()
        await queued_articles(connection, 20, slug="before")
        variables = environment(database, stub, EMBEDDING_WORKER_INTERVAL=500)

        async def stopped() -> None:
            await connection.close()
            await crashing.end(signal.SIGINT)

        if not known:  # the backup is older than the worker
            await stopped()
            backup = crashing.copy()
            await crashing.start()
            connection = await database.connect()
        async with worker_process(variables, *BATCHES) as worker:
            await worker.started()
            await until_tasks(connection, completed=20)
            if known:
                await stopped()
                backup = crashing.copy()
                await crashing.start()
                connection = await database.connect()
            await queued_articles(connection, 20, slug="lost")
            await until_tasks(connection, completed=40)
            stub.faults.hold = asyncio.Event()
            await queued_articles(connection, 20, slug="held")
            await until(lambda: stub.seen.in_flight == 2)
            await stopped()
            crashing.put_back(backup)
            await crashing.start()
            stub.faults.hold.set()
            connection = await database.connect()
            await queued_articles(connection, 20, slug="after")
            await until_tasks(connection, completed=40, within_s=40)
            await until_true(connection, "SELECT EXISTS (SELECT FROM embedq_workers WHERE state = 'running')")
            assert not await connection.fetch("SELECT FROM embedq_count_drift")
            assert await worker.stop() == 0
        assert await judge(connection, blameless=True) == []
        await connection.close()
