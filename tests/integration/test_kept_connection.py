"""The connection that claims keep for themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from embedq_worker.database.connections import Pool, open_pool
from embedq_worker.database.kept import KeptConnection, kept_connection
from tests.support.content import until_true
from tests.support.databases import Connection, Database
from tests.support.waiting import until

PID = "SELECT pg_backend_pid() AS pid"


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with open_pool(database.settings, "embedq-test", size=3) as opened:
        yield opened


@pytest.fixture
async def kept(pool: Pool) -> AsyncIterator[KeptConnection]:
    async with kept_connection(pool) as one:
        yield one


async def pid(kept: KeptConnection) -> int:
    (row,) = await kept.fetch(PID)
    answer: int = row["pid"]
    return answer


async def test_it_is_the_same_whatever_the_pool_does_meanwhile(pool: Pool, kept: KeptConnection) -> None:
    first = await pid(kept)
    others = {await pool.fetchval(PID) for _ in range(5)}
    assert first not in others
    assert await pid(kept) == first


async def test_one_that_ended_unseen_is_replaced(
    pool: Pool, kept: KeptConnection, connection: Connection
) -> None:
    first = await pid(kept)
    await connection.execute("SELECT pg_terminate_backend($1)", first)
    await until(lambda: pool.get_idle_size() == pool.get_size())
    assert await pid(kept) != first


async def test_after_an_error_and_after_a_cancelled_statement_the_next_is_answered(
    kept: KeptConnection, connection: Connection
) -> None:
    with pytest.raises(asyncpg.DivisionByZeroError):
        await kept.fetch("SELECT 1 / 0")
    asked = asyncio.create_task(kept.fetch("SELECT pg_sleep(60)"))
    await until_true(connection, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')")
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert await pid(kept)


async def test_at_the_end_the_pool_has_all_of_its_connections(pool: Pool) -> None:
    async with kept_connection(pool) as kept:
        await pid(kept)
        assert pool.get_idle_size() == pool.get_size() - 1
    assert pool.get_idle_size() == pool.get_size()
