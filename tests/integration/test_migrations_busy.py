"""Migrations while others are at work: nobody waits for long, and who is in the way is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from embedq_worker.backoff import Backoff
from embedq_worker.errors import EmbedqError, SchemaError
from embedq_worker.schema import migrations
from embedq_worker.schema.session import Patience
from embedq_worker.schema.state import status
from tests.support.catalog import catalog
from tests.support.databases import Connection, Database
from tests.support.legacy import assert_counts_are_exact
from tests.support.waiting import until
from tests.support.writers import busy_writers

pytestmark = pytest.mark.matrix

QUICK = Patience(lock_s=0.2, total_s=60, between=Backoff(0.05, 0.2))
HASTY = Patience(lock_s=0.1, total_s=0.5, between=Backoff(0.05, 0.1))


@asynccontextmanager
async def open_transaction(database: Database, *statements: str, mode: str = "") -> AsyncIterator[Connection]:
    """A transaction of another session that did something and stays open."""
    connection = await database.connect()
    await connection.execute(f"BEGIN {mode}; {'; '.join(statements)}")
    yield connection
    await connection.execute("ROLLBACK")


async def test_writers_are_not_kept_waiting(legacy: Database) -> None:
    async with busy_writers(legacy) as waits:
        await migrations.up(legacy.settings)
    assert waits.writes > 50
    assert waits.longest_s < 1.5
    await assert_counts_are_exact(legacy)


async def test_a_long_transaction_delays_the_migration_and_nobody_else(legacy: Database) -> None:
    lines: list[str] = []
    touch = "UPDATE embedding_tasks SET slug = slug WHERE id = md5('task 1')::uuid"
    async with busy_writers(legacy) as waits:
        async with open_transaction(legacy, touch) as holder:
            running = asyncio.create_task(migrations.up(legacy.settings, lines.append, patience=QUICK))
            pid = holder.get_server_pid()
            await until(lambda: any(f"session {pid} " in line for line in lines), within_s=20)
            before = waits.writes
            await until(lambda: waits.writes > before + 100, within_s=30)
            assert not running.done()
        await running
    assert waits.longest_s < 1.5
    await assert_counts_are_exact(legacy)
    assert await migrations.verify(await legacy.connect()) == []


async def test_who_is_in_the_way_for_too_long_is_named(legacy: Database) -> None:
    connection = await legacy.connect()
    touch = "LOCK TABLE embedding_tasks IN ROW EXCLUSIVE MODE"
    async with open_transaction(legacy, touch) as holder:
        with pytest.raises(SchemaError) as raised:
            await migrations.up(legacy.settings, patience=HASTY)
        assert f"session {holder.get_server_pid()} " in raised.value.message
        assert [state.version for state in await status(connection) if state.state == "applied"] == [
            1,
            2,
        ]
    assert (await migrations.up(legacy.settings))[0] == 3


async def test_an_old_snapshot_delays_indexes_and_what_is_left_of_them_is_rebuilt(legacy: Database) -> None:
    lines: list[str] = []
    connection = await legacy.connect()
    look = "SELECT count(*) FROM pg_class"
    await migrations.up(legacy.settings, target=5)
    async with open_transaction(legacy, look, mode="ISOLATION LEVEL REPEATABLE READ") as holder:
        with pytest.raises(SchemaError) as raised:
            await migrations.up(legacy.settings, patience=HASTY)
        assert f"session {holder.get_server_pid()} " in raised.value.message
        assert any(problem.code == "pending" for problem in await migrations.verify(connection))
        assert await invalid_indexes(connection) == 1
        running = asyncio.create_task(migrations.up(legacy.settings, lines.append, patience=QUICK))
        await until(lambda: any(f"session {holder.get_server_pid()} " in line for line in lines), within_s=20)
    assert (await running)[0] == 6
    assert await invalid_indexes(connection) == 0
    assert await migrations.verify(connection) == []


async def test_what_is_left_of_a_step_that_did_not_end_is_taken_back_with_those_before(
    legacy: Database,
) -> None:
    connection = await legacy.connect()
    objects = await catalog(connection)
    look = "SELECT count(*) FROM pg_class"
    await migrations.up(legacy.settings, target=5)
    async with open_transaction(legacy, look, mode="ISOLATION LEVEL REPEATABLE READ"):
        with pytest.raises(SchemaError):
            await migrations.up(legacy.settings, patience=HASTY)
    assert await invalid_indexes(connection) == 1
    assert await migrations.rollback(legacy.settings, 2) == [5, 4, 3]
    left = {line for line in await catalog(connection) if "embedq_migrations" not in line}
    assert left - {"extension pgcrypto"} == objects - {"extension pgcrypto"}


async def test_a_second_migrator_waits_for_the_first(legacy: Database) -> None:
    lines: list[str] = []
    touch = "LOCK TABLE embedding_tasks IN ROW EXCLUSIVE MODE"
    async with open_transaction(legacy, touch):
        first = asyncio.create_task(migrations.up(legacy.settings, lines.append, patience=QUICK))
        await until(lambda: any("002" in line for line in lines), within_s=20)
        second = asyncio.create_task(migrations.up(legacy.settings, lines.append, patience=QUICK))
        seen = len(lines)
        await until(lambda: len(lines) >= seen + 2, within_s=20)
    assert (await first)[0] == 1
    assert await second == []


async def test_a_lock_that_got_lost_stops_the_migration(legacy: Database) -> None:
    connection = await legacy.connect()
    await connection.execute(
        """CREATE FUNCTION lose() RETURNS event_trigger LANGUAGE plpgsql AS
           'BEGIN PERFORM pg_advisory_unlock_all(); END';
           CREATE EVENT TRIGGER lose ON ddl_command_end WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION lose()"""
    )
    with pytest.raises(SchemaError):
        await migrations.up(legacy.settings)
    await connection.execute("DROP EVENT TRIGGER lose")
    assert (await migrations.up(legacy.settings))[0] == 5


@pytest.mark.parametrize("condition", ["raise_exception", "insufficient_privilege", "division_by_zero"])
async def test_a_step_that_the_database_forbids_is_named(legacy: Database, condition: str) -> None:
    connection = await legacy.connect()
    await connection.execute(
        f"""CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE {condition}; END';
            CREATE EVENT TRIGGER no_view ON ddl_command_end WHEN TAG IN ('CREATE VIEW')
                EXECUTE FUNCTION forbid()"""
    )
    with pytest.raises(EmbedqError) as refused:
        await migrations.up(legacy.settings)
    assert refused.value.message.startswith("004_")


async def test_limits_of_the_role_do_not_stop_it(legacy: Database) -> None:
    lines: list[str] = []
    connection = await legacy.connect()
    name = await connection.fetchval("SELECT quote_ident(current_database())")
    async with open_transaction(legacy, "LOCK TABLE articles IN ROW EXCLUSIVE MODE"):
        await connection.execute(
            f"""ALTER DATABASE {name} SET statement_timeout = '150ms';
                ALTER DATABASE {name} SET lock_timeout = '10ms';
                ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '100ms';
                ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"""
        )
        running = asyncio.create_task(migrations.up(legacy.settings, lines.append, patience=QUICK))
        await until(lambda: any("is waiting" in line for line in lines) or running.done(), within_s=20)
    await running
    assert await migrations.verify(connection) == []


async def invalid_indexes(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
