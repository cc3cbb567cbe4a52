"""No statement of the queue reads a whole table, whatever the planner believes of its size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import cast

import pytest

from embedq_worker.database.codecs import register_vectors
from embedq_worker.database.connections import Pool, open_pool
from embedq_worker.insights.overview import overview
from embedq_worker.queue import claims, fleet
from embedq_worker.queue.claims import Return, ReturnKind, Scope
from embedq_worker.queue.low_water import LowWater
from embedq_worker.queue.retention import clean_up
from tests.support.databases import Connection
from tests.support.queue_world import World, completion_of

TABLES = ["embedding_tasks", "embeddings", "articles", "embedding_audit_logs", "performance_metrics"]

FILL = """
INSERT INTO articles (title, slug, content, folder)
SELECT 'Title', 'slug-' || n, 'One line.', 'folder-' || n % 10 FROM generate_series(1, {0} / 10) n;
INSERT INTO embeddings (article_id, chunk_id, chunk_index, text_content)
SELECT id, slug || '.md#0', 0, 'old' FROM articles;
INSERT INTO embedding_tasks (id, article_id, operation, priority, status,
                             created_at, scheduled_at, completed_at)
SELECT embedq_uuid(), 1 + n % ({0} / 10), 'update', (ARRAY['high', 'normal', 'low'])[1 + n % 3],
       CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'completed' END,
       now() - interval '1 hour', now() - interval '1 hour', now() - n * interval '1 second'
FROM generate_series(1, {0}) n;
INSERT INTO embedding_tasks (id, article_id, operation, priority, created_at, scheduled_at)
SELECT embedq_uuid(), n, CASE WHEN n % 100 = 0 THEN 'delete' ELSE 'update' END,
       (ARRAY['high', 'normal', 'low'])[1 + n % 3], now() - interval '1 minute',
       now() - interval '1 minute' + n * interval '1 millisecond'
FROM generate_series(1, {0} / 10) n;
INSERT INTO embedding_tasks (id, article_id, operation, priority, scheduled_at)
SELECT embedq_uuid(), 1 + n % ({0} / 10), 'update', (ARRAY['high', 'normal', 'low'])[1 + n % 3],
       now() + interval '1 day'
FROM generate_series(1, {0} / 2) n;
INSERT INTO embedding_tasks (id, article_id, operation, created_at, scheduled_at)
VALUES (embedq_uuid(), 1, 'update', now() + interval '1 hour', now() + interval '1 day'),
       (embedq_uuid(), 1, 'update', '50000-01-01', '60000-01-01');
INSERT INTO embedding_audit_logs (id, timestamp, level, category, message)
SELECT embedq_uuid(), now() - n * interval '1 second', 'info', 'performance', 'm'
FROM generate_series(1, {0}) n;
INSERT INTO performance_metrics (id, timestamp, metric_type, value)
SELECT embedq_uuid(), now() - n * interval '1 second', 'queue_depth', 1 FROM generate_series(1, {0}) n;
"""
"""So many ended tasks, audit rows and metrics; a tenth of it due; half of it deferred, one
by a program whose clock is ahead, one by a program that has none."""


OTHER_INDEXES = """
CREATE INDEX idx_embedding_tasks_status ON embedding_tasks (status);
CREATE INDEX idx_embedding_tasks_queue ON embedding_tasks (status, priority, scheduled_at);
"""
"""What the article application has."""

MOST = 3_000
"""Rows of a table that are looked at for 60 tasks: those of their articles, never all that are pending."""


@asynccontextmanager
async def no_whole_table(session: Connection) -> AsyncIterator[Pool]:
    """A pool of one session, in one transaction, that must not read a whole table, by index neither."""
    asked = """SELECT relname, seq_scan, coalesce(idx_tup_fetch, 0) AS fetched FROM pg_stat_xact_user_tables
               WHERE relname = ANY ($1::text[]) ORDER BY relname"""
    transaction = session.transaction()
    await transaction.start()
    before = await session.fetch(asked, TABLES)
    yield cast("Pool", session)
    after = await session.fetch(asked, TABLES)
    await transaction.rollback()
    for old, new in zip(before, after, strict=True):
        assert new["seq_scan"] == old["seq_scan"], new
        assert new["fetched"] - old["fetched"] < MOST, new


@asynccontextmanager
async def worker_session(world: World, *settings: str) -> AsyncIterator[Connection]:
    """A session as the pool of a worker has it."""
    session = await world.database.connect()
    await register_vectors(session)
    for setting in settings:
        await session.execute(f"SET {setting}")
    yield session
    await session.close()


async def use(session: Connection, world: World, scope: Scope) -> None:
    """All that workers do all day, twice: the second time with plans from the first."""
    await session.execute("UPDATE embedq_workers SET state = 'running', heartbeat_at = now()")
    for _ in range(2):
        async with no_whole_table(session) as pool:
            assert len(await claims.claim(pool, scope, 60)) == 60
        async with no_whole_table(session) as pool:
            assert len(await claims.claim(pool, replace(scope, priorities=("low",)), 60)) == 60
        async with no_whole_table(session) as pool:
            assert len(await claims.claim(pool, replace(scope, folders=("folder-3",)), 10)) == 10
        async with no_whole_table(session) as pool:
            tasks = await claims.claim(pool, scope, 60)
            done = [completion_of(task) for task in tasks[:50]]
            outcomes = await claims.complete(pool, scope, world.storage, done)
            assert set(outcomes.values()) <= {"stored", "removed", "coalesced"}
            returns = [Return(task, kind, "e") for task, kind in zip(tasks[50:54], ReturnKind, strict=True)]
            await claims.give_back(pool, scope, returns)
            assert await fleet.disown(pool, scope.worker, [], older_s=0) == 6
        async with no_whole_table(session) as pool:
            await claims.claim(pool, scope, 60)
            await session.execute("UPDATE embedq_workers SET state = 'dead'")
            assert len(await fleet.rescue(pool, dead_s=45, stuck_s=1_800, limit=500)) == 60
        async with no_whole_table(session) as pool:
            for wanted in (scope, replace(scope, folders=("folder-3",))):
                outlook = await fleet.outlook(pool, wanted, within_s=0)
                assert outlook.more
                assert outlook.next_s is not None
            await session.execute(
                "INSERT INTO embedq_providers (key, state) VALUES ($1, 'open')", scope.provider
            )
            assert {task.operation for task in await claims.claim(pool, scope, 60)} == {"delete"}
        async with no_whole_table(session):
            saved = list(range(700, 730))
            await session.fetch(
                "SELECT embedq_enqueue($1, $2, $3, 'normal', 3)", saved, ["s"] * 30, ["update"] * 30
            )
            await session.execute("DELETE FROM articles WHERE id = 1500")
        async with no_whole_table(session) as pool:
            await session.fetch("SELECT * FROM embedq_live_counts")
            await session.execute("SELECT embedq_fold_counts()")
            await fleet.beat(pool, scope.worker, state="running", note="", in_hand=0, succeeded=1, failed=1)


@pytest.mark.parametrize("rows", [20_000, pytest.param(200_000, marks=pytest.mark.slow)])
async def test_nothing_reads_a_whole_table(world: World, rows: int) -> None:
    scope = await world.worker()
    await world.task(await world.article())
    await world.psql.execute(OTHER_INDEXES + "ANALYZE")
    await world.psql.execute("TRUNCATE articles RESTART IDENTITY CASCADE")
    await world.psql.execute(
        "ANALYZE"
    )  # of almost nothing: what the planner believes of the tables from here on
    await world.psql.execute(FILL.format(rows))
    for setting in ("plan_cache_mode = force_generic_plan", "plan_cache_mode = auto"):
        async with worker_session(world, setting) as session:
            await use(session, world, scope)
    await world.psql.execute("ANALYZE")
    async with worker_session(world) as session:
        await use(session, world, scope)


async def test_what_was_finished_when_analyzed_and_is_pending_now_is_not_read_whole(world: World) -> None:
    scope = await world.worker()
    await world.psql.execute(OTHER_INDEXES + FILL.format(20_000))
    await world.psql.execute(
        """DELETE FROM embedding_tasks WHERE scheduled_at > now() AND article_id > 10;
           UPDATE embedding_tasks SET status = 'completed', completed_at = now();
           ANALYZE;
           UPDATE embedding_tasks SET status = 'pending'"""
    )
    async with worker_session(world) as session:
        await use(session, world, scope)


async def entries_read(session: Connection) -> int:
    """Of the indexes of the queue, by this session in its transaction; the dead ones too."""
    return int(
        await session.fetchval(
            """SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) FROM pg_index
               WHERE indrelid = 'embedding_tasks'::regclass"""
        )
    )


async def test_the_overview_of_what_was_finished_when_analyzed_reads_next_to_nothing(world: World) -> None:
    await world.psql.execute(OTHER_INDEXES + FILL.format(20_000))
    await world.psql.execute("UPDATE embedding_tasks SET status = 'completed', completed_at = now()")
    await world.psql.execute("VACUUM ANALYZE embedding_tasks")
    await world.psql.execute("UPDATE embedding_tasks SET status = 'pending'")
    await world.psql.execute("VACUUM embedding_tasks")
    async with (
        worker_session(world) as session,
        session.transaction(isolation="repeatable_read", readonly=True),
    ):
        before = await entries_read(session)
        assert (await overview(session, world.database.settings)).queue.counts.pending > 20_000
        assert await entries_read(session) - before < 100


@pytest.mark.parametrize("apart_ms", [1, 0], ids=["one after the other", "all at once"])
async def test_a_claim_reads_little_of_what_an_old_snapshot_keeps(world: World, apart_ms: int) -> None:
    await world.psql.execute(
        f"""INSERT INTO articles (id, title, slug)
           SELECT n, 'Title', 'slug-' || n FROM generate_series(1, 2010) n;
           INSERT INTO embedding_tasks (id, article_id, operation, scheduled_at)
           SELECT embedq_uuid(), n, 'delete', now() - interval '1 hour' + n * interval '{apart_ms} ms'
           FROM generate_series(1, 2010) n"""
    )
    await world.psql.execute("VACUUM ANALYZE")
    scope = await world.worker()
    old = await world.database.connect()
    await old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM articles")
    water = LowWater()
    async with worker_session(world) as session:
        pool = cast("Pool", session)
        for _ in range(5):
            tasks = await claims.claim(pool, scope, 400)
            await claims.complete(pool, scope, world.storage, [completion_of(task) for task in tasks])
        water.claimed(tasks, took_s=0)
        async with session.transaction():
            before = await entries_read(session)
            assert len(await claims.claim(pool, scope, 10, water.marks())) == 10
            assert await entries_read(session) - before < 200


@dataclass(frozen=True, slots=True)
class Reads:
    """What was read of a table so far: from end to end, entries of its indexes; and rows deleted."""

    scans: int
    entries: int
    deleted: int


async def reads(world: World) -> dict[str, Reads]:
    """By table, of those that retention is for."""
    rows = await world.psql.fetch(
        """SELECT t.relname, t.seq_scan, t.n_tup_del,
                  (SELECT sum(i.idx_tup_read) FROM pg_stat_user_indexes i
                   WHERE i.relid = t.relid)::bigint AS entries
           FROM pg_stat_user_tables t
           WHERE t.relname IN ('embedding_tasks', 'embedding_audit_logs', 'performance_metrics')"""
    )
    return {row["relname"]: Reads(row["seq_scan"], row["entries"], row["n_tup_del"]) for row in rows}


async def test_retention_reads_what_it_deletes_and_no_more(world: World) -> None:
    session = await world.database.connect()
    await session.execute(FILL.format(20_000))
    await session.execute(
        """UPDATE embedding_tasks SET completed_at = now() - interval '1 year' WHERE id IN
               (SELECT id FROM embedding_tasks WHERE status = 'completed' LIMIT 100);
           UPDATE embedding_audit_logs SET timestamp = now() - interval '1 year' WHERE id IN
               (SELECT id FROM embedding_audit_logs LIMIT 100);
           UPDATE performance_metrics SET timestamp = now() - interval '1 year' WHERE id IN
               (SELECT id FROM performance_metrics LIMIT 100)"""
    )
    await session.execute("VACUUM ANALYZE")
    await session.close()
    before = await reads(world)
    async with asyncio.timeout(10):
        while not before["performance_metrics"].scans:  # what a session did is known when it has ended
            before = await reads(world)
            await asyncio.sleep(0.02)
    async with open_pool(world.database.settings, "embedq-test", size=1) as pool:
        cleaned = await clean_up(pool, days=30)
    assert cleaned is not None
    assert (cleaned.tasks, cleaned.audit_rows, cleaned.metrics) == (100, 100, 100)
    after = await reads(world)
    async with asyncio.timeout(10):
        while any(after[table].deleted < 100 for table in after):
            after = await reads(world)
            await asyncio.sleep(0.02)
    for table, seen in after.items():
        assert seen.scans == before[table].scans, table
        assert seen.entries - before[table].entries < 1_000, table
