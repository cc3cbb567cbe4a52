"""Retention: what is old goes, in batches, by one session at a time."""

from __future__ import annotations

import asyncio

import pytest

from embedq_worker.database.connections import open_pool
from embedq_worker.database.locks import LOCK_CLASS
from embedq_worker.queue import retention
from embedq_worker.queue.retention import Cleaned, RowsHeld, clean_up, count_expired
from tests.support.content import until_true
from tests.support.queue_world import World


async def fill(world: World) -> None:
    """Tasks, audit rows, metrics and workers of 0 to 39 days ago, one a day and kind."""
    await world.psql.execute(
        """INSERT INTO embedding_tasks (operation, status, completed_at, created_at)
           SELECT 'update', s.status, now() - n * interval '1 day', now() - interval '90 days'
           FROM generate_series(0, 39) n,
                unnest(ARRAY['pending', 'processing', 'completed', 'failed']) AS s(status);
           INSERT INTO embedding_audit_logs (level, category, message, timestamp)
           SELECT 'info', 'performance', 'm', now() - n * interval '1 day' FROM generate_series(0, 39) n;
           INSERT INTO performance_metrics (metric_type, value, timestamp)
           SELECT 'queue_depth', 1, now() - n * interval '1 day' FROM generate_series(0, 39) n;
           INSERT INTO embedq_workers (id, host, pid, host_key, version, provider, state, stopped_at)
           SELECT gen_random_uuid(), 'h', 1, '', '1', 'p', s.state, now() - n * interval '1 day'
           FROM generate_series(0, 39) n, unnest(ARRAY['running', 'stopped', 'dead']) AS s(state)"""
    )


async def test_what_is_older_than_the_retention_goes_and_only_what_is_done(world: World) -> None:
    await fill(world)
    assert await clean_up(world.pool, days=30) == Cleaned(tasks=10, audit_rows=10, metrics=10, workers=20)
    rows = await world.psql.fetch("SELECT status, count(*) AS n FROM embedding_tasks GROUP BY status")
    assert {row["status"]: row["n"] for row in rows} == {
        "pending": 40,
        "processing": 40,
        "failed": 40,
        "completed": 30,
    }
    assert await world.psql.fetchval("SELECT count(*) FROM embedq_workers WHERE state = 'running'") == 40
    assert await clean_up(world.pool, days=30) == Cleaned(0, 0, 0, 0)
    assert await world.miscounted() == []


async def test_a_completed_task_without_a_time_goes_when_its_latest_time_is_old(world: World) -> None:
    await world.psql.execute(
        """INSERT INTO embedding_tasks (slug, operation, status, created_at, scheduled_at, processed_at)
           SELECT slug, 'update', status, now() - created * interval '1 day', now() - due * interval '1 day',
                  now() - claimed * interval '1 day'
           FROM (VALUES ('old', 'completed', 90, 90, 31), ('never claimed', 'completed', 90, 31, NULL),
                        ('claimed of late', 'completed', 90, 90, 29),
                        ('due of late', 'completed', 90, 29, NULL),
                        ('failed', 'failed', 90, 90, 90)) AS t(slug, status, created, due, claimed)"""
    )
    assert await count_expired(world.psql, days=30) == Cleaned(2, 0, 0, 0)
    assert await clean_up(world.pool, days=30) == Cleaned(2, 0, 0, 0)
    left = await world.psql.fetchval("SELECT array_agg(slug ORDER BY slug) FROM embedding_tasks")
    assert left == ["claimed of late", "due of late", "failed"]


@pytest.mark.parametrize("when", ["", "DEFERRABLE INITIALLY DEFERRED"])
async def test_only_the_tasks_that_another_table_refers_to_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    await fill(world)
    monkeypatch.setattr(retention, "RETENTION_BATCH", 4)
    await world.psql.execute(
        f"""CREATE TABLE notes (task uuid REFERENCES embedding_tasks (id) {when});
            INSERT INTO notes SELECT id FROM embedding_tasks
            WHERE status = 'completed' ORDER BY completed_at LIMIT 5;
            WITH old AS (INSERT INTO embedding_tasks (operation, status, created_at, scheduled_at)
                         SELECT 'update', 'completed', '2020-01-01', '2020-01-01' FROM generate_series(1, 9)
                         RETURNING id)
            INSERT INTO notes SELECT id FROM old ORDER BY id LIMIT 5"""
    )
    with pytest.raises(RowsHeld) as held:
        await clean_up(world.pool, days=30, pause_s=0)
    assert held.value.cleaned == Cleaned(tasks=9, audit_rows=10, metrics=10, workers=20)
    assert "notes" in held.value.message
    left = await world.psql.fetchval(
        """SELECT count(*) FROM embedding_tasks
           WHERE status = 'completed' AND coalesce(completed_at, created_at) < now() - interval '30 days'"""
    )
    assert left == await world.psql.fetchval("SELECT count(*) FROM notes")
    assert await world.miscounted() == []


async def test_many_rows_that_are_kept_are_not_looked_for_one_by_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "RETENTION_BATCH", 20)
    monkeypatch.setattr(retention, "MOST_HELD", 5)
    await world.psql.execute(
        """INSERT INTO embedding_tasks (operation, status, completed_at)
           SELECT 'update', 'completed', now() - n * interval '1 day' FROM generate_series(101, 2120) n;
           CREATE TABLE notes (task uuid REFERENCES embedding_tasks (id));
           INSERT INTO notes SELECT id FROM embedding_tasks ORDER BY completed_at LIMIT 2000"""
    )
    spent = "SELECT txid_current()"
    before = await world.psql.fetchval(spent)
    with pytest.raises(RowsHeld) as held:
        await clean_up(world.pool, days=30, pause_s=0)
    assert held.value.cleaned.tasks == 20
    assert await world.psql.fetchval(spent) - before < 1000  # of the whole server: other tests may run


async def test_it_goes_in_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(world)
    monkeypatch.setattr(retention, "RETENTION_BATCH", 3)
    await world.psql.execute(
        """CREATE TABLE batches (n int);
           CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN INSERT INTO batches SELECT count(*) FROM gone; RETURN NULL; END';
           CREATE TRIGGER note AFTER DELETE ON embedding_tasks REFERENCING OLD TABLE AS gone
               FOR EACH STATEMENT EXECUTE FUNCTION note()"""
    )
    cleaned = await clean_up(world.pool, days=30, pause_s=0)
    assert cleaned == Cleaned(10, 10, 10, 20)
    batches = [row["n"] for row in await world.psql.fetch("SELECT n FROM batches WHERE n > 0")]
    assert (sum(batches), max(batches)) == (10, 3)


async def test_one_session_at_a_time(world: World) -> None:
    await fill(world)
    async with world.psql.transaction():
        await world.psql.execute("SELECT pg_advisory_xact_lock($1, -5)", LOCK_CLASS)
        assert await clean_up(world.pool, days=30) is None
    cleaned = [
        done for done in await asyncio.gather(*(clean_up(world.pool, days=30) for _ in range(4))) if done
    ]
    assert sum(done.tasks for done in cleaned) == 10


async def test_what_was_deleted_before_another_session_took_over_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "RETENTION_BATCH", 4)
    await fill(world)
    begun = asyncio.Event()
    cleaning = asyncio.create_task(clean_up(world.pool, days=30, pause_s=0.5, progress=lambda _: begun.set()))
    await begun.wait()
    async with world.psql.transaction():
        await world.psql.execute("SELECT pg_advisory_xact_lock($1, -5)", LOCK_CLASS)
        assert await cleaning == Cleaned(tasks=4, audit_rows=0, metrics=0, workers=0)


async def test_a_task_that_somebody_holds_goes_the_next_time(world: World) -> None:
    await fill(world)
    session = await world.database.connect()
    async with session.transaction():
        await session.execute(
            "SELECT FROM embedding_tasks WHERE status = 'completed' ORDER BY completed_at LIMIT 4 FOR UPDATE"
        )
        first = await clean_up(world.pool, days=30)
    second = await clean_up(world.pool, days=30)
    assert first is not None
    assert second is not None
    assert (first.tasks, second.tasks) == (6, 4)


@pytest.mark.parametrize("completed", ["now() - n * interval '60 days'", "NULL"])
async def test_a_batch_begins_where_the_last_one_ended(
    world: World, monkeypatch: pytest.MonkeyPatch, completed: str
) -> None:
    monkeypatch.setattr(retention, "RETENTION_BATCH", 4)
    await world.psql.execute(
        f"""INSERT INTO embedding_tasks (operation, status, created_at, scheduled_at, completed_at)
            SELECT 'update', 'completed', '2020-01-01', '2020-01-01', {completed}
            FROM generate_series(1, 200) n;
            CREATE TABLE notes (task uuid PRIMARY KEY REFERENCES embedding_tasks (id));
            INSERT INTO notes SELECT id FROM embedding_tasks"""
    )
    # What PostgreSQL comes to after some batches, when it takes a plan for any parameters to be as good.
    database = await world.psql.fetchval("SELECT quote_ident(current_database())")
    await world.psql.execute(f"ALTER DATABASE {database} SET plan_cache_mode = force_generic_plan")
    async with open_pool(world.database.settings, "retention", size=1) as pool:
        with pytest.raises(RowsHeld):
            await clean_up(pool, days=30, pause_s=0)
    await until_true(
        world.psql, "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'retention'"
    )
    read = await world.psql.fetchval(
        "SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'embedding_tasks'"
    )
    assert read < 3_000
