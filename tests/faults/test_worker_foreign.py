"""The article program's own worker beside ours: neither stops the other; backfill repairs what it left."""

from __future__ import annotations

import asyncio
import random

import pytest

from embedq_worker.actions import backfill
from embedq_worker.actions.backfill import BackfillOptions
from tests.support.content import add_articles, queue_tasks, statuses, until_tasks, wrong_articles
from tests.support.databases import Connection, Database
from tests.support.foreign_worker import ForeignWorker
from tests.support.oracle import judge
from tests.support.provider_stub import ProviderStub
from tests.support.worker_process import environment, run_worker_process, worker_process

pytestmark = [pytest.mark.pgvector, pytest.mark.usefixtures("witness")]


async def edit_for_a_while(connection: Connection, articles: list[int], edits: int) -> None:
    """Save articles as their program does: the text, and a task."""
    chance = random.Random(17)
    for number in range(edits):
        article = chance.choice(articles)
        async with connection.transaction():
            await connection.execute(
                "UPDATE articles SET content = $2 WHERE id = $1",
                article,
                f"Edit {number}. " * chance.randint(1, 12),
            )
            await queue_tasks(
                connection, [article], operation="update", priority=chance.choice(["high", "low"])
            )


async def test_a_foreign_worker_beside_ours_does_no_harm_that_lasts(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    articles = await add_articles(connection, [f"Text number {number}. " * 8 for number in range(60)])
    await queue_tasks(connection, articles)
    variables = environment(database, stub, EMBEDDING_WORKER_INTERVAL=100)
    author, theirs = await database.connect(), ForeignWorker(await database.connect())
    async with worker_process(variables, "--batch-size", "5", "--concurrency", "2") as worker:
        await worker.started()
        foreign = asyncio.create_task(theirs.run())
        await edit_for_a_while(author, articles, 120)
        await until_tasks(connection, completed=180)
        foreign.cancel()
        await asyncio.wait([foreign])
        assert foreign.cancelled()
        assert worker.running
        assert "deadlock" not in worker.text
        assert await worker.stop() == 0
    ours = await connection.fetchval("SELECT sum(succeeded) FROM embedq_workers")
    assert theirs.done > 5
    assert ours > 5

    wrong = await wrong_articles(connection)
    assert wrong
    await backfill.run(connection, BackfillOptions("openai/stub", 3), by="me@here", planned=len(wrong))
    code, _ = await run_worker_process(variables, "--drain", "--batch-size", "50")
    assert code == 0
    assert await judge(connection) == []
    assert set(await statuses(connection)) == {"completed"}
