"""Databases in another encoding than UTF-8."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from embedq_worker.schema import migrations
from tests.support.content import add_articles, queue_tasks, until_tasks, until_true, wrong_articles
from tests.support.databases import Database, Server
from tests.support.provider_faults import Fault
from tests.support.provider_stub import ProviderStub
from tests.support.worker_process import environment, worker_process

FOREIGN = "服务器错误…"


@pytest.fixture
async def latin(server: Server) -> AsyncIterator[Database]:
    """A migrated database in LATIN1."""
    name = f"embedq_latin_{server.token}"
    async with server.administration() as administration:
        await administration.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    database = server.database(name)
    await migrations.up(database.settings)
    yield database
    for opened in database.opened:
        await opened.close()
    await server.drop(name)


async def test_words_of_the_provider_that_it_lacks_cost_no_attempt(
    latin: Database, stub: ProviderStub
) -> None:
    connection = await latin.connect()
    variables = environment(latin, stub, EMBEDDING_QUEUE_HEARTBEAT_INTERVAL=1000)
    async with worker_process(variables) as worker:
        await worker.started()
        stub.faults.turn({"fault": Fault.STATUS, "status": 500, "message": FOREIGN})
        await queue_tasks(connection, await add_articles(connection, ["Café au lait.", "Thé à la menthe."]))
        await until_true(connection, "SELECT EXISTS (SELECT FROM embedq_providers WHERE state = 'open')")
        await until_true(connection, "SELECT EXISTS (SELECT FROM embedq_workers WHERE note <> '')")
        stub.faults.turn({})
        await connection.execute(
            "UPDATE embedq_providers SET state = 'closed', retry_at = NULL; NOTIFY embedq_work, 'provider'"
        )
        await until_tasks(connection, completed=2)
        assert not worker.heard("a batch failed")
        assert not worker.heard("no heartbeat")
    assert await connection.fetchval("SELECT array_agg(attempts) FROM embedding_tasks") == [1, 1]
    assert await wrong_articles(connection) == []


async def test_a_worker_starts_whatever_is_wrong_with_the_provider(
    latin: Database, stub: ProviderStub
) -> None:
    stub.faults.turn({"fault": Fault.STATUS, "status": 500, "message": FOREIGN})
    async with worker_process(environment(latin, stub)) as worker:
        await worker.until_heard("the provider does not work")
        await worker.until_heard("requests to the provider are held")
        assert worker.running
