"""When the queue table is vacuumed: as we say where nobody did before; and no migration waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from embedq_worker.backoff import Backoff
from embedq_worker.schema import migrations
from embedq_worker.schema.session import Patience
from tests.support.content import until_true
from tests.support.databases import Connection, Database
from tests.support.legacy import make_legacy
from tests.support.writers import busy_writers

pytestmark = pytest.mark.matrix

BEFORE = 16
OWN = {"autovacuum_vacuum_scale_factor=0.01", "autovacuum_vacuum_cost_delay=0"}


async def options(connection: Connection) -> set[str]:
    """Storage parameters of the queue table."""
    return set(
        await connection.fetchval(
            "SELECT coalesce(reloptions, '{}') FROM pg_class WHERE oid = 'embedding_tasks'::regclass"
        )
    )


async def set_options(connection: Connection, values: set[str]) -> None:
    await connection.execute(f"ALTER TABLE embedding_tasks SET ({', '.join(values)})")


@pytest.fixture
async def before(empty_database: Database) -> tuple[Database, Connection]:
    """A database of another program, migrated until just before."""
    connection = await empty_database.connect()
    await make_legacy(connection)
    await migrations.up(empty_database.settings, target=BEFORE)
    return empty_database, connection


async def test_set_where_nobody_did_and_taken_back(before: tuple[Database, Connection]) -> None:
    database, connection = before
    await set_options(connection, {"fillfactor=90"})
    await migrations.up(database.settings)
    made = await options(connection)
    assert {option.split("=")[0] for option in made} == {
        "fillfactor",
        "autovacuum_vacuum_scale_factor",
        "autovacuum_vacuum_threshold",
        "autovacuum_analyze_scale_factor",
        "autovacuum_analyze_threshold",
    }
    await migrations.rollback(database.settings, BEFORE)
    assert await options(connection) == {"fillfactor=90"}


async def test_what_an_operator_set_before_stays_the_way_there_and_back(
    before: tuple[Database, Connection],
) -> None:
    database, connection = before
    await set_options(connection, OWN)
    await migrations.up(database.settings)
    assert await options(connection) == OWN
    await migrations.rollback(database.settings, BEFORE)
    assert await options(connection) == OWN


async def test_what_an_operator_set_alike_before_stays_too(before: tuple[Database, Connection]) -> None:
    database, connection = before
    await migrations.up(database.settings)
    ours = await options(connection)
    await migrations.rollback(database.settings, BEFORE)
    await set_options(connection, ours)
    await migrations.up(database.settings)
    await migrations.rollback(database.settings, BEFORE)
    assert await options(connection) == ours


async def test_what_an_operator_changed_since_survives_the_way_back(
    before: tuple[Database, Connection],
) -> None:
    database, connection = before
    await migrations.up(database.settings)
    await set_options(connection, {"autovacuum_vacuum_threshold=777"})
    await migrations.rollback(database.settings, BEFORE)
    assert await options(connection) == {"autovacuum_vacuum_threshold=777"}


@pytest.fixture
async def vacuumed(empty_database: Database) -> AsyncIterator[Database]:
    """A database of another program whose queue table autovacuum is at work on, for minutes to come."""
    connection = await empty_database.connect()
    await make_legacy(connection)
    await connection.execute(
        """INSERT INTO embedding_tasks (id, slug, operation)
               SELECT md5('more ' || n)::uuid, 'more', 'update' FROM generate_series(1, 20000) AS n;
           ALTER TABLE embedding_tasks SET (
               autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,
               autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
           UPDATE embedding_tasks SET slug = slug"""
    )
    await connection.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    await connection.execute("SELECT pg_reload_conf()")
    try:
        await until_true(
            connection,
            """SELECT EXISTS (
                   SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
                   WHERE relation = 'embedding_tasks'::regclass AND mode = 'ShareUpdateExclusiveLock'
                     AND backend_type = 'autovacuum worker')""",
            within_s=40,
        )
        yield empty_database
    finally:
        await connection.execute("ALTER SYSTEM RESET autovacuum_naptime")
        await connection.execute("SELECT pg_reload_conf()")


@pytest.mark.slow
async def test_an_autovacuum_gives_way_and_no_writer_waits_for_it(vacuumed: Database) -> None:
    async with asyncio.timeout(40), busy_writers(vacuumed) as waits:
        await migrations.up(vacuumed.settings, patience=Patience(0.4, 30, Backoff(0.05, 0.2)))
    assert waits.longest_s < 1.5
