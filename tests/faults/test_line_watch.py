"""Connections that are dead, and nobody says so: who waits on one is told, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from embedq_worker.configuration.loading import load_settings
from embedq_worker.database import line_watch
from embedq_worker.database.connections import Connection as AnyConnection
from embedq_worker.database.connections import Pool, open_pool, serves
from embedq_worker.database.failures import EXPECTED_ERRORS
from embedq_worker.database.line_watch import LineWatch
from tests.support.databases import Connection, Database
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until


@asynccontextmanager
async def watched(proxy: TcpProxy, size: int) -> AsyncIterator[Pool]:
    """A pool by way of a proxy, watched with less patience than a worker has."""
    settings = load_settings(database_url=proxy.url)
    watch = LineWatch(settings, suspect_s=0.3, every_s=0.1)
    async with (
        open_pool(settings, "embedq-test", size=size, min_size=size, opened=watch.add) as pool,
        watch.looking(),
    ):
        yield pool


async def test_who_waits_on_a_silently_dead_connection_is_told_and_the_idle_ones_are_replaced(
    database: Database,
) -> None:
    async with TcpProxy(database.url) as proxy, watched(proxy, 4) as pool:
        proxy.swallow()
        async with asyncio.timeout(10):
            with pytest.raises(EXPECTED_ERRORS):
                await pool.fetchval("SELECT 1")
            assert await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(4))) == [1] * 4
        assert proxy.connections > 4


async def test_who_waits_for_a_server_that_was_replaced_behind_its_proxy_is_told(
    database: Database, connection: Connection
) -> None:
    """As after a failover, if the proxy keeps connections to the old primary open."""
    async with TcpProxy(database.url) as proxy, watched(proxy, 2) as pool:
        proxy.swallow()
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'embedq-test'"
        )
        async with asyncio.timeout(10):
            with pytest.raises(EXPECTED_ERRORS):
                await pool.fetchval("SELECT 1")
            assert await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(2))) == [1] * 2


@pytest.mark.parametrize("pooler", [False, True])
async def test_a_statement_may_take_its_time_while_the_server_is_at_work_on_it(
    database: Database, pooler: bool
) -> None:
    async with TcpProxy(database.url, deaf=pooler) as proxy, watched(proxy, 2) as pool:
        assert await pool.fetchval("SELECT 1 FROM pg_sleep(2)") == 1


async def test_what_is_sent_and_answered_may_take_its_time_on_a_slow_network(
    database: Database,
) -> None:
    async with TcpProxy(database.url) as proxy, watched(proxy, 2) as pool:
        proxy.delay_s = 0.05  # for each 64 KB
        assert len(await pool.fetchval("SELECT repeat('x', 3000000)")) == 3_000_000
        assert len(str(await pool.fetchval("SELECT $1::text", "x" * 1_000_000))) == 1_000_000


async def test_connections_that_end_while_they_are_looked_at_do_not_end_the_watch(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with TcpProxy(database.url) as proxy, watched(proxy, 4) as pool:
        waiting, looked = [await pool.acquire() for _ in range(2)], asyncio.Event()

        async def served(connection: AnyConnection, pid: int, **named: bool) -> bool:
            for each in waiting:
                each.terminate()
            monkeypatch.undo()
            answer = await serves(connection, pid, **named)
            looked.set()
            return answer

        monkeypatch.setattr(line_watch, "serves", served)
        sleeps = (each.execute("SELECT pg_sleep(20)") for each in waiting)
        await asyncio.gather(*sleeps, looked.wait(), return_exceptions=True)
        proxy.swallow()
        asking = asyncio.create_task(pool.fetchval("SELECT 1"))
        await until(asking.done, within_s=8)
        assert isinstance(asking.exception(), EXPECTED_ERRORS)
