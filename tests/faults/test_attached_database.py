"""The whole way of an operator who attaches embedq to another program's database, with psql at hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.commands.running import Tui
from tests.support.content import statuses, until_true, wrong_articles
from tests.support.databases import Connection, Database
from tests.support.legacy import make_legacy
from tests.support.provider_stub import ProviderStub
from tests.support.queue_world import RESET
from tests.support.waiting import until
from tests.support.worker_process import WorkerProcess, environment, run_worker_process, worker_process

CANCEL = """UPDATE embedding_tasks SET status='failed', error_message='Cancelled by administrator'
            WHERE status='pending'"""
STOP = "UPDATE embedding_worker_status SET is_running = false"
START = "UPDATE embedding_worker_status SET is_running = true"
DELETE = "DELETE FROM embedding_tasks"
NONE_IN_HAND = "SELECT NOT EXISTS (SELECT FROM embedding_tasks WHERE status = 'processing')"


class Site:
    """A database of another program, and embedq's commands on it."""

    def __init__(self, database: Database, connection: Connection, stub: ProviderStub, tui: Tui) -> None:
        self.connection = connection
        self.stub = stub
        self.variables = environment(database, stub, EMBEDDING_DIMENSIONS=stub.dimensions)
        self._tui = tui
        self._tui.variables |= self.variables

    async def tui(self, *arguments: str) -> tuple[int, Any]:
        """Run a command; its exit code and its JSON."""
        answer = await self._tui(*arguments, "--json")
        return answer.code, json.loads(answer.out)

    async def psql(self, statement: str) -> int:
        """Type a statement; the number of rows it changed."""
        return int((await self.connection.execute(statement)).split()[-1])

    async def drain(self) -> None:
        code, worker = await run_worker_process(self.variables, "--drain", "--batch-size", "5")
        assert code == 0, worker.text


@pytest.fixture(params=["plain", pytest.param("pgvector", marks=pytest.mark.pgvector)])
async def site(
    request: pytest.FixtureRequest, empty_database: Database, anywhere: Tui
) -> AsyncIterator[Site]:
    connection = await empty_database.connect()
    await make_legacy(connection, request.param)
    async with ProviderStub(dimensions=768) as stub:
        yield Site(empty_database, connection, stub, anywhere)
    await connection.close()


async def test_from_migrate_to_a_clean_verify(site: Site) -> None:
    before = await statuses(site.connection)
    assert sum(before.values()) == 200
    assert (await site.tui("migrate"))[0] == 0
    code, status = await site.tui("status")
    assert (code, {name: status["queue"][name] for name in before}) == (0, before)
    _, failed = await site.tui("failed")
    assert [group["count"] for group in failed["groups"]] == [before["failed"]]
    _, stuck = await site.tui("stuck")
    assert stuck["total"] == await site.psql(RESET) == before["processing"] - 1  # one claim is young
    await site.psql(
        "UPDATE embedding_tasks SET processed_at = now() - interval '1 h' WHERE status = 'processing'"
    )
    await site.drain()  # takes back what the other program left in hand, and does all that is due
    assert (await statuses(site.connection)).get("processing", 0) == 0
    await site.psql("UPDATE embedding_tasks SET scheduled_at = now() WHERE status = 'pending'")
    assert (await site.tui("backfill", "--yes"))[0] == 0
    await site.drain()
    assert await wrong_articles(site.connection, dimensions=site.stub.dimensions) == []
    assert (await site.tui("verify"))[1]["drift"] == []


async def test_every_statement_of_psql_means_what_it_says(site: Site) -> None:
    assert (await site.tui("migrate"))[0] == 0
    await site.psql(DELETE)
    await site.psql("""INSERT INTO embedding_tasks (id, article_id, slug, operation)
                       SELECT md5('new ' || id)::uuid, id, slug, 'update' FROM articles""")
    site.stub.faults.latency_s = 0.15
    arguments = ("--concurrency", "2", "--batch-size", "3")
    async with worker_process(site.variables, *arguments) as worker:
        await worker.started()
        await _stop_and_start(site)
        await _reset(site)
        await _cancel(site, worker)
        await _delete(site, worker)
        assert await worker.stop() == 0, worker.text
    site.stub.faults.latency_s = 0
    await site.psql("UPDATE embedding_tasks SET scheduled_at = now() WHERE status = 'pending'")
    assert (await site.tui("backfill", "--yes"))[0] == 0
    await site.drain()
    assert await wrong_articles(site.connection, dimensions=site.stub.dimensions) == []
    assert (await site.tui("verify"))[1]["drift"] == []


async def _stop_and_start(site: Site) -> None:
    """Not one claim after it, until it is lifted; what was in hand is finished."""
    await site.psql(STOP)
    claimed = "SELECT count(*) FROM embedding_audit_logs WHERE message = 'Task claimed'"
    claims = await site.connection.fetchval(claimed)
    await until_true(site.connection, NONE_IN_HAND)
    assert await site.connection.fetchval(claimed) == claims
    _, status = await site.tui("status")
    assert not status["worker"]["running"]
    assert (await statuses(site.connection))["pending"] > 0
    await site.psql(START)
    await until_true(site.connection, f"SELECT ({claimed}) > $1", claims)


async def _reset(site: Site) -> None:
    """What is in hand is taken away and given out again; the late write of the first claim stores nothing."""
    site.stub.faults.hold = asyncio.Event()
    held = site.stub.seen.requests + 2  # the two in flight now are answered
    await until(lambda: site.stub.seen.in_flight == 2 and site.stub.seen.requests >= held)
    aged = await site.psql("""UPDATE embedding_tasks SET processed_at = now() - interval '31 minutes'
                              WHERE status = 'processing'""")
    assert await site.psql(RESET) == aged > 0
    site.stub.faults.hold.set()
    site.stub.faults.hold = None


async def _cancel(site: Site, worker: WorkerProcess) -> None:
    cancelled = await site.psql(CANCEL)
    assert cancelled > 0
    await until_true(site.connection, NONE_IN_HAND)
    counts = await statuses(site.connection)
    assert counts["failed"] == cancelled, worker.text
    assert not counts.get("pending")


async def _delete(site: Site, worker: WorkerProcess) -> None:
    """With a batch in hand: its late write neither brings a task back nor stores a vector."""
    site.stub.faults.hold = asyncio.Event()
    seen = site.stub.seen.requests
    await site.psql("""UPDATE articles SET content = content || 'More.'""")
    await site.psql(
        "UPDATE embedding_tasks SET status = 'pending', scheduled_at = now() WHERE status = 'failed'"
    )
    await until(lambda: site.stub.seen.requests > seen)
    await site.psql(DELETE)
    newest = "SELECT max(created_at) FROM embeddings"
    stored = await site.connection.fetchval(newest)
    site.stub.faults.hold.set()
    site.stub.faults.hold = None
    await until(lambda: site.stub.seen.in_flight == 0)
    await worker.until_heard("lost")
    assert await statuses(site.connection) == {}
    assert await site.connection.fetchval(newest) == stored
