"""What goes on in the demo's database goes on."""

from __future__ import annotations

import asyncio

from embedq_worker.content.demo_traffic import keep_busy
from tests.support.content import until_true
from tests.support.databases import Connection, Database


async def test_it_goes_on_where_its_connection_was_lost(database: Database, connection: Connection) -> None:
    traffic = asyncio.create_task(keep_busy(database.settings, "somebody@here"))
    try:
        await until_true(connection, "SELECT EXISTS (SELECT FROM articles)")
        await connection.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'embedq demo traffic'"""
        )
        await connection.execute("TRUNCATE articles CASCADE")
        await until_true(connection, "SELECT EXISTS (SELECT FROM articles)")
    finally:
        traffic.cancel()
        await asyncio.wait([traffic])
    assert traffic.cancelled()
