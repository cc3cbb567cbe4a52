"""The connections of the console."""

from __future__ import annotations

import asyncio

from embedq_tui.live.link import Link
from embedq_worker.configuration.loading import load_settings
from tests.support.databases import Database
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until


async def test_who_is_cancelled_ends_although_the_connection_dies_meanwhile(database: Database) -> None:
    async with TcpProxy(database.url) as proxy:
        link = Link(load_settings(database_url=proxy.url))
        begun = asyncio.Event()

        async def sleep() -> None:
            async with link.connection() as connection, connection.transaction():
                begun.set()
                await connection.execute("SELECT pg_sleep(60)")

        async with link.opened():
            asleep = asyncio.create_task(sleep())
            await begun.wait()
            proxy.swallow()
            known = proxy.connections
            asleep.cancel()
            await until(lambda: proxy.connections > known)  # the server is asked to cancel it
            proxy.cut()
            await asyncio.wait([asleep], timeout=15)
        assert asleep.cancelled()
