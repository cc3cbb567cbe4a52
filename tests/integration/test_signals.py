"""Signals: who commits work wakes workers and consoles, in few notifications, whatever the program."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from uuid import UUID

import pytest
from pydantic import SecretStr

from embedq_worker.actions import orders
from embedq_worker.actions.orders import Order
from embedq_worker.database import notifier
from embedq_worker.database.channels import CHANGES
from embedq_worker.database.connections import open_pool
from embedq_worker.database.notifier import Notifier
from embedq_worker.queue import fleet
from embedq_worker.queue.claims import ReturnKind
from embedq_worker.waits import beside
from tests.support.databases import Connection
from tests.support.queue_world import World
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until

RESCAN_S = 0.05
"""A listener looks again this long after a signal."""


class Ears:
    """What a session heard.

    Attributes:
        heard: Channel and payload of each notification.
        news: Set with each.
    """

    def __init__(self, session: Connection) -> None:
        self.session = session
        self.heard: list[tuple[str, str]] = []
        self.news = asyncio.Event()

    def hear(self, _session: object, _pid: int, channel: str, payload: object) -> None:
        self.heard.append((channel, str(payload)))
        self.news.set()

    async def since(self, sender: Connection) -> Counter[str]:
        """Channels of what was heard since the last time, when everything sent so far has come."""
        await sender.execute("SELECT pg_notify('embedq_changes', 'mark')")
        async with asyncio.timeout(5):
            while ("embedq_changes", "mark") not in self.heard:
                self.news.clear()
                await self.news.wait()
        heard = [channel for channel, payload in self.heard if payload != "mark"]
        self.heard.clear()
        return Counter(heard)


@asynccontextmanager
async def listening(world: World, *channels: str) -> AsyncIterator[Ears]:
    """A session that listens."""
    session = await world.database.connect()
    ears = Ears(session)
    for channel in channels or ("embedq_work", "embedq_changes"):
        await session.add_listener(channel, ears.hear)
    try:
        yield ears
    finally:
        session.terminate()


WORK_ONCE = {"embedq_work": 1}
ONE_OF_EACH = {"embedq_work": 1, "embedq_changes": 1}


async def test_a_statement_is_told_once_however_many_rows_it_writes(world: World) -> None:
    article = await world.article()
    async with listening(world) as ears:
        await world.psql.execute(
            """INSERT INTO embedding_tasks (article_id, operation)
               SELECT $1, 'update' FROM generate_series(1, 1000)""",
            article,
        )
        assert await ears.since(world.psql) == WORK_ONCE


async def test_a_transaction_is_told_once_however_many_statements_it_has(world: World) -> None:
    article = await world.article()
    async with listening(world) as ears:
        async with world.psql.transaction():
            await world.psql.execute(
                "INSERT INTO embedding_tasks (operation, status) VALUES ('update', 'failed')"
            )
            for _ in range(20):
                await world.task(article)
        assert await ears.since(world.psql) == ONE_OF_EACH


TOLD = [
    ("UPDATE embedding_tasks SET scheduled_at = now()", WORK_ONCE),
    ("UPDATE embedding_tasks SET status = 'pending' WHERE status = 'failed'", ONE_OF_EACH),
    ("UPDATE embedding_tasks SET priority = 'high' WHERE status = 'pending'", ONE_OF_EACH),
    ("UPDATE embedding_tasks SET status = 'failed' WHERE status = 'pending'", {"embedq_changes": 1}),
    ("UPDATE embedding_tasks SET error_message = 'x' WHERE status = 'failed'", {"embedq_changes": 1}),
    ("DELETE FROM embedding_tasks", {"embedq_changes": 1}),
    ("TRUNCATE embedding_tasks", {"embedq_changes": 1}),
    ("DELETE FROM articles", {"embedq_changes": 1}),
    ("UPDATE embedding_tasks SET scheduled_at = now() WHERE false", {}),
    ("DELETE FROM embedding_tasks WHERE false", {}),
    ("UPDATE articles SET title = 'x'", {}),
    ("UPDATE embedding_worker_status SET is_running = false", ONE_OF_EACH),
    ("UPDATE embedding_worker_status SET is_running = true", ONE_OF_EACH),
    # Another program's worker begins, beats, or tells what it did and ends.
    ("UPDATE embedding_worker_status SET is_running = true, started_at = now()", {}),
    ("UPDATE embedding_worker_status SET is_running = true, last_heartbeat = now()", {}),
    ("UPDATE embedding_worker_status SET is_running = false, tasks_processed = 1", {}),
]


async def test_what_is_told_to_whom(world: World) -> None:
    async with listening(world) as ears:
        for statement, heard in TOLD:
            await world.psql.execute("TRUNCATE articles CASCADE")
            _, failed = await world.tasks(await world.articles(2), due_s=3600)
            await world.psql.execute("UPDATE embedding_tasks SET status = 'failed' WHERE id = $1", failed)
            await ears.since(world.psql)
            await world.psql.execute(statement)
            assert await ears.since(world.psql) == heard, statement


async def test_an_order_is_told_to_workers_and_consoles(world: World) -> None:
    async with listening(world) as ears:
        for order in Order:
            await orders.command(world.psql, order, "ann@ops")
            assert await ears.since(world.psql) == ONE_OF_EACH, order


async def test_one_pending_task_among_those_that_change_wakes_workers(world: World) -> None:
    await world.psql.execute(
        """INSERT INTO embedding_tasks (operation, status)
           VALUES ('update', 'failed'), ('update', 'pending'), ('update', 'completed')"""
    )
    async with listening(world) as ears:
        await world.psql.execute("UPDATE embedding_tasks SET slug = 'x'")
        assert await ears.since(world.psql) == WORK_ONCE


async def test_what_is_rolled_back_is_not_told(world: World) -> None:
    async with listening(world) as ears:
        transaction = world.psql.transaction()
        await transaction.start()
        await world.task(await world.article())
        await transaction.rollback()
        assert await ears.since(world.psql) == {}


async def test_what_workers_do_wakes_no_worker(world: World) -> None:
    tasks = await world.tasks(await world.articles(6))
    scope = await world.worker()
    async with listening(world) as ears:
        held = await world.claim(scope)
        await world.complete(scope, *held[:2])
        await world.give_back(scope, held[2])
        await world.give_back(scope, held[3], kind=ReturnKind.RELEASE)
        await fleet.beat(world.pool, scope.worker, state="running", note="", in_hand=2, succeeded=2, failed=0)
        assert await ears.since(world.psql) == {}
        assert await fleet.disown(world.pool, scope.worker, [held[4].id], older_s=0) == 1
        assert await ears.since(world.psql) == ONE_OF_EACH
        await world.die(scope)
        await world.rescue()
        assert await ears.since(world.psql) == {**ONE_OF_EACH, "embedq_changes": 2}  # and of the death
    assert await world.status(tasks[4]) == "pending"


async def test_a_long_transaction_is_told_when_it_commits_and_holds_up_nobodys_signal(world: World) -> None:
    article = await world.article()
    async with listening(world) as ears:
        other = await world.database.connect()
        async with world.psql.transaction():
            await world.task(article)
            assert await ears.since(other) == {}
            await other.execute("INSERT INTO embedding_tasks (operation) VALUES ('delete')")
            assert await ears.since(other) == WORK_ONCE
        assert await ears.since(other) == WORK_ONCE


async def test_who_tells_of_a_change_keeps_nobody_from_telling_of_work_and_conversely(world: World) -> None:
    """Each commits while the other is between its signal and its commit."""
    failed = "INSERT INTO embedding_tasks (operation, status) VALUES ('delete', 'failed')"
    pending = "INSERT INTO embedding_tasks (operation) VALUES ('delete')"
    other = await world.database.connect()
    async with listening(world) as ears:
        for first, second, heard in (
            (failed, pending, WORK_ONCE),
            (pending, failed, {"embedq_changes": 1}),
        ):
            async with other.transaction():
                await other.execute(first)
                await other.execute("SET CONSTRAINTS ALL IMMEDIATE")
                await world.psql.execute(second)
                assert await ears.since(world.psql) == heard
            await ears.since(world.psql)


async def test_constraints_made_immediate_do_not_hold_up_the_signals_of_others(world: World) -> None:
    """SET CONSTRAINTS lets the trigger decide long before the commit."""
    article = await world.article()
    async with listening(world) as ears:
        other = await world.database.connect()
        async with world.psql.transaction():
            await world.psql.execute("SET CONSTRAINTS ALL IMMEDIATE")
            await world.task(article)
            await other.execute("INSERT INTO embedding_tasks (operation) VALUES ('delete')")
            assert (await ears.since(other))["embedq_work"] == 0
        # What it kept from being told is told with its own commit, as any that commit together.
        assert await ears.since(other) == WORK_ONCE


async def test_a_listener_that_looks_again_after_50_ms_misses_no_commit_for_long(world: World) -> None:
    """1,000 transactions of one row from 8 sessions: signals, at most as many, find each row."""
    article = await world.article()
    committed: dict[UUID, float] = {}
    found: dict[UUID, float] = {}

    async def write() -> None:
        session = await world.database.connect()
        for _ in range(125):
            task = await session.fetchval(
                "INSERT INTO embedding_tasks (article_id, operation) VALUES ($1, 'update') RETURNING id",
                article,
            )
            committed[task] = monotonic()
        await session.close()

    async def look() -> None:
        rows = await world.psql.fetch("SELECT id FROM embedding_tasks")
        now = monotonic()
        for row in rows:
            found.setdefault(row["id"], now)

    async def listen(ears: Ears) -> None:
        while True:
            await ears.news.wait()
            ears.news.clear()
            await look()
            await asyncio.sleep(RESCAN_S)
            await look()

    async with listening(world, "embedq_work") as ears:
        listener = asyncio.create_task(listen(ears))
        await asyncio.gather(*(write() for _ in range(8)))
        await until(lambda: len(found) == 1000)
        listener.cancel()
        signals = len(ears.heard)
    late = max(found[task] - committed[task] for task in committed)
    assert late < 2
    assert 1 <= signals <= 1000  # on one processor perhaps no two commit at the same moment


async def test_a_database_that_is_away_is_not_asked_ten_times_a_second_to_tell_consoles(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "RETRY_S", 0.4)
    async with listening(world, CHANGES) as ears, TcpProxy(world.database.url) as proxy:
        settings = world.database.settings.model_copy(update={"database_url": SecretStr(proxy.url)})
        async with open_pool(settings, "embedq-test", size=1) as pool:
            proxy.refuses = True
            proxy.cut()
            tells = Notifier(pool)
            async with beside(tells.run()):
                tells.changed()
                await until(lambda: proxy.refused == 1)
                began = monotonic()
                await until(lambda: proxy.refused == 3)
                assert monotonic() - began > 0.6
                proxy.refuses = False
                await until(lambda: ears.heard != [])
