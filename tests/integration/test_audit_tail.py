"""The tail of the audit log leaves no row out and tells none twice, however late it is committed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from datetime import timedelta
from uuid import UUID

import pytest

from embedq_worker.database.following import FailedLook, follow
from embedq_worker.insights.audit import AuditFilter, AuditRow, audit_page
from embedq_worker.insights.audit_tail import AuditTail
from tests.support.databases import Connection, Database, inspect
from tests.support.postgres import embedded_binaries, running_server
from tests.support.waiting import until

NO_TIME = timedelta(0)

INSERT = """
INSERT INTO embedding_audit_logs (timestamp, level, category, message)
VALUES ({time}, 'info', 'performance', $1) RETURNING id
"""


async def write(session: Connection, message: str, *, time: str = "clock_timestamp()") -> UUID:
    """Write a row; committed with the transaction of the session."""
    written: UUID = await session.fetchval(INSERT.format(time=time), message)
    return written


async def news(tail: AuditTail, session: Connection) -> list[str]:
    """Messages of what is new, in the order told."""
    return [row.event.message async for rows in tail.news(session) for row in rows]


async def test_a_row_is_told_when_it_is_committed(database: Database, connection: Connection) -> None:
    tail = AuditTail(AuditFilter(), late=NO_TIME, page=2)
    await write(connection, "before")
    assert await news(tail, connection) == []
    several = ["first", "second", "another", "and another", "and one more"]
    for message in several:
        await write(connection, message)
    assert await news(tail, connection) == several
    assert await news(tail, connection) == []
    async with connection.transaction():
        await write(connection, "third")
        assert await news(tail, await database.connect()) == []
    assert await news(tail, connection) == ["third"]


async def test_a_row_that_was_shown_before_is_not_told_again(connection: Connection) -> None:
    """As the page that is shown first, which is read a moment after the tail began."""
    tail = AuditTail(AuditFilter())
    await tail.begin(connection)
    await write(connection, "in between")
    for row in (await audit_page(connection, AuditFilter())).rows:
        tail.told(row)
    await write(connection, "new")
    assert await news(tail, connection) == ["new"]
    assert await news(tail, connection) == []


async def test_a_transaction_that_is_open_for_long(database: Database, connection: Connection) -> None:
    """Whether others went by or not, and whether it began before the tail did."""
    for others in (0, 1, 3):
        early, late = await database.connect(), await database.connect()
        tail = AuditTail(AuditFilter(), late=NO_TIME)
        before = early.transaction()
        await before.start()
        await write(early, "early")
        assert await news(tail, connection) == []
        after = late.transaction()
        await after.start()
        await write(late, "late")
        for n in range(others):
            await write(connection, f"other {n}")
            assert await news(tail, connection) == [f"other {n}"]
        await after.commit()
        assert await news(tail, connection) == ["late"]
        await write(connection, "last")
        assert await news(tail, connection) == ["last"]
        await before.commit()
        assert await news(tail, connection) == ["early"]
        assert await news(tail, connection) == []


async def test_rows_of_savepoints(database: Database, connection: Connection) -> None:
    """They carry numbers that no snapshot lists."""
    writer = await database.connect()
    tail = AuditTail(AuditFilter(), late=NO_TIME, page=2)
    await news(tail, connection)
    async with writer.transaction():
        await write(writer, "outer")
        async with writer.transaction():
            await write(writer, "inner")
        await write(connection, "another")
        assert await news(tail, connection) == ["another"]
        with suppress(ZeroDivisionError):
            async with writer.transaction():
                await write(writer, "taken back")
                raise ZeroDivisionError
        await write(connection, "another")
        assert await news(tail, connection) == ["another"]
    assert await news(tail, connection) == ["outer", "inner"]
    assert await news(tail, connection) == []


async def test_memory_is_bounded_and_nothing_is_told_twice(
    database: Database, connection: Connection
) -> None:
    writer = await database.connect()
    tail = AuditTail(AuditFilter(), remembered=3)
    await news(tail, connection)
    async with writer.transaction():
        await write(writer, "late")
        for n in range(10):
            await write(connection, str(n))
            assert await news(tail, connection) == [str(n)]
    assert await news(tail, connection) == ["late"]
    for n in range(5):
        await write(connection, str(n))
        assert await news(tail, connection) == [str(n)]


async def test_rows_that_say_they_are_older(connection: Connection) -> None:
    tail = AuditTail(AuditFilter(), late=timedelta(minutes=1))
    await news(tail, connection)
    await write(connection, "by a clock behind", time="now() - interval '30 s'")
    await write(connection, "by a clock ahead", time="now() + interval '1 h'")
    assert await news(tail, connection) == ["by a clock behind", "by a clock ahead"]
    await write(connection, "now")
    assert await news(tail, connection) == ["now"]


@pytest.mark.parametrize("reconnects", [False, True])
async def test_a_clock_that_is_set_back(database: Database, connection: Connection, reconnects: bool) -> None:
    """As by a failover to a server whose clock is behind."""
    tail, writer = AuditTail(AuditFilter(), late=timedelta(seconds=15)), await database.connect()
    await write(connection, "long known", time="now() - interval '10 minutes'")
    await news(tail, connection)
    async with writer.transaction():
        await write(writer, "open when it was set back")
        await write(connection, "known")
        assert await news(tail, connection) == ["known"]
        session = await database.connect() if reconnects else connection
        await session.execute(_BEHIND)
        await write(session, "then", time="now()")
        assert await news(tail, session) == ["then"]
        await write(writer, "afterwards", time="now() - interval '10 minutes'")
    assert sorted(await news(tail, session)) == ["afterwards", "open when it was set back"]
    await write(session, "later", time="now()")
    assert await news(tail, session) == ["later"]


async def test_what_was_told_before_a_clock_was_set_back_is_not_told_again(
    database: Database, connection: Connection
) -> None:
    tail = AuditTail(AuditFilter(), late=timedelta(seconds=15))
    await news(tail, connection)
    await write(connection, "known")
    assert await news(tail, connection) == ["known"]
    await connection.execute(_LATER)
    assert await news(tail, connection) == []
    await connection.execute(_BEHIND)
    assert await news(tail, connection) == []
    another = await database.connect()
    await another.execute(_BEHIND)
    await write(another, "later", time="now()")
    assert await news(tail, another) == ["later"]


_CLOCK = """
CREATE OR REPLACE FUNCTION now() RETURNS timestamptz LANGUAGE sql STABLE
AS $$ SELECT pg_catalog.now() + interval '{0} minutes' $$;
SET search_path = public, pg_catalog
"""
"""Whoever asks for the time in this session is told another one."""

_LATER, _BEHIND = _CLOCK.format(5), _CLOCK.format(-10)


async def test_a_server_that_is_another_one(database: Database, connection: Connection) -> None:
    """As after a failover to a replica that lacked the last transactions: others get their numbers."""
    with running_server(embedded_binaries()) as url:
        other = await inspect(url)
        for ahead in (True, False):
            async with other.new_database() as fresh:
                session = await fresh.connect()
                await session.execute(_TABLES)
                await write(connection, "long known", time="now() - interval '10 min'")
                tail = AuditTail(AuditFilter(), late=timedelta(minutes=1))
                await news(tail, connection)
                await write(connection, "known")
                assert await news(tail, connection) == ["known"]
                columns = "id, timestamp, level, category, message"
                for row in await connection.fetch(f"SELECT {columns} FROM embedding_audit_logs"):
                    await session.execute(
                        f"INSERT INTO embedding_audit_logs ({columns}) VALUES ($1, $2, $3, $4, $5)", *row
                    )
                await use_numbers(session if ahead else connection, beyond=connection if ahead else session)
                await news(tail, connection)
                await write(session, "new there")
                assert await news(tail, session) == ["new there"]
                await write(session, "newer there")
                assert await news(tail, session) == ["newer there"]
                assert await news(tail, session) == []


_TABLES = """
CREATE TABLE articles (id int, slug text);
CREATE TABLE embedding_audit_logs (
    id uuid DEFAULT gen_random_uuid(), timestamp timestamptz, level text, category text, message text,
    task_id uuid, article_id int, operation_id text, metadata jsonb, duration numeric, error text,
    stack_trace text)
"""


async def use_numbers(session: Connection, *, beyond: Connection) -> None:
    """Begin transactions until one server has used more numbers than another."""
    reached = await beyond.fetchval("SELECT txid_current()")
    while await session.fetchval("SELECT txid_current()") <= reached:
        pass


async def write_late(session: Connection, chance: random.Random) -> None:
    """Transactions that commit late, with savepoints, or not at all."""
    for _ in range(60):
        transaction = session.transaction()
        await transaction.start()
        for _ in range(chance.randint(1, 3)):
            await write(session, "outer")
            async with session.transaction():
                await write(session, "inner")
            await asyncio.sleep(chance.random() ** 6 * 0.2)
        await (transaction.commit() if chance.random() < 0.9 else transaction.rollback())


async def kill_followers(session: Connection) -> None:
    """End their connections again and again."""
    while True:
        await asyncio.sleep(0.15)
        await session.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE application_name = 'embedq-tui follow' AND datname = current_database()"""
        )


@pytest.mark.slow
async def test_no_row_is_lost_or_told_twice_while_all_write_at_once(
    database: Database, connection: Connection
) -> None:
    chance = random.Random(7)
    told: list[UUID] = []
    losses: list[FailedLook] = []
    tail = AuditTail(AuditFilter(category="performance"), late=NO_TIME, page=7)
    looked = asyncio.Event()

    async def look(session: Connection) -> AsyncIterator[tuple[AuditRow, ...]]:
        async for rows in tail.news(session):
            yield rows
        looked.set()

    async def listen() -> None:
        async with aclosing(follow(database.settings, look, every_s=0.02, pause_s=0.005)) as followed:
            async for found in followed:
                if isinstance(found, FailedLook):
                    losses.append(found)
                else:
                    told.extend(row.id for row in found)

    listener = asyncio.create_task(listen())
    await asyncio.wait_for(looked.wait(), 10)
    killer = asyncio.create_task(kill_followers(connection))
    await asyncio.gather(*[write_late(await database.connect(), chance) for _ in range(8)])
    killer.cancel()
    rows = await (await database.connect()).fetch("SELECT id FROM embedding_audit_logs")
    await until(lambda: len(told) >= len(rows) or listener.done(), within_s=20)
    listener.cancel()
    assert losses
    assert sorted(told) == sorted(row["id"] for row in rows)
