"""Retention: what is old goes, in batches, by one session at a time."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from embedq_worker.service import maintenance
from embedq_worker.service.maintenance import RETENTION_LOCK, Cleaned, clean_up
from tests.support.queue_world import World


async def fill(world: World) -> None:
    """Tasks, audit rows, metrics and workers of 0 to 39 days ago, one a day and kind."""
    await world.psql.execute(
        """INSERT INTO embedding_tasks (operation, status, completed_at, created_at)
           SELECT 'update', s.status, now() - n * interval '1 day', now() - interval '90 days'
           FROM generate_series(0, 39) n,
                unnest(ARRAY['pending', 'processing', 'completed', 'failed']) AS s(status);
           INSERT INTO embedding_tasks (operation, status, created_at)
           VALUES ('update', 'completed', now() - interval '1 year');
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
        "completed": 31,
    }
    assert await world.psql.fetchval("SELECT count(*) FROM embedq_workers WHERE state = 'running'") == 40
    assert await clean_up(world.pool, days=30) == Cleaned(0, 0, 0, 0)
    assert await world.miscounted() == []


async def test_tasks_that_another_table_refers_to_keep_nothing_else(world: World) -> None:
    await fill(world)
    await world.psql.execute(
        """CREATE TABLE notes (task uuid REFERENCES embedding_tasks (id));
           INSERT INTO notes SELECT id FROM embedding_tasks WHERE status = 'completed'"""
    )
    deleted: list[Cleaned] = []
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await clean_up(world.pool, days=30, progress=deleted.append)
    assert deleted[-1] == Cleaned(tasks=0, audit_rows=10, metrics=10, workers=20)
    assert await world.miscounted() == []


async def test_it_goes_in_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(world)
    monkeypatch.setattr(maintenance, "RETENTION_BATCH", 3)
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
        await world.psql.execute("SELECT pg_advisory_xact_lock($1, -5)", RETENTION_LOCK)
        assert await clean_up(world.pool, days=30) is None
    cleaned = [
        done for done in await asyncio.gather(*(clean_up(world.pool, days=30) for _ in range(4))) if done
    ]
    assert sum(done.tasks for done in cleaned) == 10


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
