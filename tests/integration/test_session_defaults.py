"""What a database sets for its sessions, for another program's sake, changes nothing of what ours do."""

from __future__ import annotations

import pytest

from embedq_worker.database.connections import connected, open_pool
from embedq_worker.schema import migrations
from tests.support.content import failed_tasks, queued_articles
from tests.support.databases import Connection, Database
from tests.support.oracle import judge
from tests.support.piping import bench
from tests.support.provider_stub import ProviderStub
from tests.support.queue_world import World

DEFAULTS = {
    "array_nulls": "off",
    "bytea_output": "escape",
    "datestyle": "SQL, DMY",
    "default_transaction_isolation": "serializable",
    "extra_float_digits": "-15",
    "intervalstyle": "sql_standard",
    "plpgsql.extra_errors": "all",
    "plpgsql.variable_conflict": "use_variable",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
}


@pytest.fixture
async def peculiar(empty_database: Database) -> Database:
    """A database that sets what it can."""
    connection = await empty_database.connect()
    name = await connection.fetchval("SELECT quote_ident(current_database())")
    for setting, value in DEFAULTS.items():
        await connection.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    await connection.close()
    return empty_database


async def test_from_migration_to_embeddings(peculiar: Database, stub: ProviderStub) -> None:
    await migrations.up(peculiar.settings)
    connection = await peculiar.connect()
    assert await migrations.verify(connection) == []
    await queued_articles(connection, 6)
    await connection.execute("UPDATE articles SET content = repeat('Words. ', 900) WHERE id % 2 = 0")
    async with bench(peculiar, stub) as worker:
        assert await worker.work_off(4) == {"stored": 6}
    await connection.execute("SET extra_float_digits = 1")
    assert await judge(connection) == []


async def test_sessions_see_what_was_committed_meanwhile(peculiar: Database) -> None:
    """A claim that did not would take an article that is in another's hand."""
    async with connected(peculiar.settings) as command, open_pool(peculiar.settings, "test", size=1) as pool:
        for session in (command, pool):
            assert await session.fetchval("SHOW transaction_isolation") == "read committed"


async def test_failures_are_grouped_alike_by_every_session(world: World, connection: Connection) -> None:
    """The group of an error is in an index: it must not depend on who writes."""
    errors = ["no file /var/lib/one.txt", "job ab-cd-ef-01 failed", "hash 0x1234567890ab", "line 7"]
    for error in errors:
        await failed_tasks(world.psql, 1, error)
    old_fashioned = await world.database.connect()
    await old_fashioned.execute("SET standard_conforming_strings = off")
    for error in errors:
        await failed_tasks(old_fashioned, 1, error)
    groups = await connection.fetch("SELECT n FROM embedq_live_failures")
    assert [group["n"] for group in groups] == [2] * len(errors)
    assert await world.miscounted() == []
