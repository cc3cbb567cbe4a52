"""Counts are exact, whoever writes and however."""

from __future__ import annotations

import asyncio
import io
from random import Random
from uuid import uuid4

import asyncpg
import pytest

from embedq_worker.service import maintenance
from embedq_worker.service.logs import open_log
from embedq_worker.service.metrics import WorkerMetrics
from embedq_worker.waits import beside
from tests.support.content import until_true
from tests.support.databases import Connection
from tests.support.queue_world import World, waiters


async def kept(session: Connection) -> dict[tuple[str, str], int]:
    """The counts as they are kept."""
    rows = await session.fetch("SELECT status, priority, n FROM embedq_live_counts WHERE n <> 0")
    return {(row["status"], row["priority"]): row["n"] for row in rows}


async def test_every_kind_of_statement_is_counted(world: World) -> None:
    articles = await world.articles(6)
    tasks = await world.tasks(articles)
    statements = [
        "INSERT INTO embedding_tasks (article_id, operation, priority) "
        "SELECT id, 'update', 'high' FROM articles",
        "UPDATE embedding_tasks SET status = 'failed' WHERE priority = 'high'",
        "UPDATE embedding_tasks SET error_message = 'connect to 10.0.0.' || article_id || ' refused'",
        "UPDATE embedding_tasks SET error_message = 'model A not found' WHERE article_id % 2 = 0",
        "UPDATE embedding_tasks SET priority = 'low', status = 'pending' WHERE article_id % 2 = 0",
        "UPDATE embedding_tasks SET metadata = '{}'",
        "UPDATE embedding_tasks SET status = 'failed' WHERE false",
        "INSERT INTO embedding_tasks (id, operation) SELECT id, 'update' FROM embedding_tasks "
        "ON CONFLICT (id) DO UPDATE SET status = 'completed'",
        "INSERT INTO embedding_tasks (id, operation) SELECT id, 'update' FROM embedding_tasks "
        "ON CONFLICT DO NOTHING",
        "UPDATE embedding_tasks SET status = 'failed', error_message = NULL WHERE article_id % 2 = 0",
        "DELETE FROM embedding_tasks WHERE error_message IS NOT NULL AND article_id = 1",
        "WITH gone AS (DELETE FROM embedding_tasks WHERE priority = 'high' RETURNING article_id) "
        "INSERT INTO embedding_tasks (article_id, operation, priority) "
        "SELECT article_id, 'create', 'low' FROM gone",
        "ALTER TABLE embedding_tasks ALTER status DROP NOT NULL, ALTER priority DROP NOT NULL",
        "UPDATE embedding_tasks SET status = NULL WHERE article_id = 2",
        "UPDATE embedding_tasks SET priority = NULL WHERE article_id = 4",
        "DELETE FROM articles WHERE id % 3 = 0",
        "TRUNCATE articles CASCADE",
    ]
    assert await kept(world.psql) == {("pending", "normal"): len(tasks)}
    for statement in statements:
        await world.psql.execute(statement)
        assert await world.miscounted() == [], statement
        assert await world.psql.fetch("SELECT * FROM embedq_count_drift") == [], statement
    assert await kept(world.psql) == {}


async def test_a_copy_is_counted(world: World) -> None:
    article = await world.article()
    rows = [(article, "update", "low", "failed")] * 300 + [(None, "delete", "high", "pending")]
    await world.psql.copy_records_to_table(
        "embedding_tasks", records=rows, columns=["article_id", "operation", "priority", "status"]
    )
    assert await kept(world.psql) == {("failed", "low"): 300, ("pending", "high"): 1}
    assert await world.miscounted() == []


async def test_what_is_rolled_back_was_never_there(world: World) -> None:
    await world.tasks(await world.articles(3))
    before = await kept(world.psql)
    outer = world.psql.transaction()
    await outer.start()
    await world.psql.execute("UPDATE embedding_tasks SET status = 'failed'")
    inner = world.psql.transaction()
    await inner.start()
    await world.psql.execute("TRUNCATE embedding_tasks")
    assert await world.miscounted() == []
    await world.psql.execute("INSERT INTO embedding_tasks (operation) VALUES ('delete')")
    assert await kept(world.psql) == {("pending", "normal"): 1}
    await inner.rollback()
    assert await world.miscounted() == []
    assert await kept(world.psql) == {("failed", "normal"): 3}
    await world.psql.execute("SELECT embedq_fold_counts()")
    await outer.rollback()
    assert await kept(world.psql) == before
    assert await world.miscounted() == []


async def test_folding_changes_no_count_and_leaves_few_rows(world: World) -> None:
    for _ in range(20):
        await world.task(await world.article())
    await world.psql.execute("UPDATE embedding_tasks SET status = 'failed', error_message = slug")
    before = await kept(world.psql)
    for _ in range(2):
        await world.psql.execute("SELECT embedq_fold_counts()")
        assert await kept(world.psql) == before
        assert await world.miscounted() == []
        assert await world.psql.fetchval("SELECT count(*) FROM embedq_count_deltas") == 0


async def test_a_group_that_is_empty_leaves_no_row(world: World) -> None:
    await world.tasks(await world.articles(3))
    await world.psql.execute("UPDATE embedding_tasks SET status = 'failed', error_message = 'a'")
    await world.psql.execute("SELECT embedq_fold_counts()")
    await world.psql.execute("UPDATE embedding_tasks SET error_message = 'b'")
    await world.psql.execute("SELECT embedq_fold_counts()")
    rows = await world.psql.fetch("TABLE embedq_failure_counts")
    assert [tuple(row) for row in rows] == [(await world.psql.fetchval("SELECT embedq_fingerprint('b')"), 3)]


async def test_another_way_to_make_fingerprints_is_counted_anew(world: World) -> None:
    """As a migration that changes the function has to do it."""
    await world.tasks(await world.articles(6))
    fail = "UPDATE embedding_tasks SET status = 'failed', error_message = 'no ' || article_id"
    async with world.psql.transaction():
        await world.psql.execute(f"{fail} WHERE article_id % 2 = 0")
        changing = await world.database.connect()
        change = asyncio.create_task(
            changing.execute(
                """BEGIN;
                   LOCK TABLE embedding_tasks IN SHARE ROW EXCLUSIVE MODE;
                   CREATE OR REPLACE FUNCTION embedq_fingerprint(message text) RETURNS text
                   LANGUAGE sql IMMUTABLE AS $$ SELECT left(md5(message), 8) $$;
                   REINDEX INDEX embedq_tasks_failure_group_idx;
                   COMMIT"""
            )
        )
        await waiters(world, 1)
    await change
    await world.psql.execute(f"{fail} WHERE article_id % 2 = 1")
    assert await world.miscounted()
    await world.psql.execute("SELECT * FROM embedq_repair_counts()")
    assert await world.miscounted() == []


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_a_stricter_isolation_is_counted_too(world: World, isolation: str) -> None:
    await world.tasks(await world.articles(3))
    async with world.psql.transaction(isolation=isolation.replace(" ", "_")):  # type: ignore[arg-type]
        await world.psql.fetch("TABLE articles")
        other = await world.database.connect()
        await other.execute("INSERT INTO embedding_tasks (operation) VALUES ('delete')")
        await other.execute("SELECT embedq_fold_counts()")
        await world.psql.execute("UPDATE embedding_tasks SET status = 'failed', error_message = slug")
        await world.psql.execute("INSERT INTO embedding_tasks (operation) VALUES ('delete')")
    assert await world.miscounted() == []


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_what_a_truncate_could_not_see_is_made_good_by_a_worker(
    world: World, monkeypatch: pytest.MonkeyPatch, isolation: str
) -> None:
    monkeypatch.setattr(maintenance, "FOLD_EVERY_S", 0.05)
    before = await world.tasks(await world.articles(6))
    other = await world.database.connect()
    await other.execute(f"BEGIN ISOLATION LEVEL {isolation}; SELECT FROM articles")
    await world.tasks(await world.articles(3))
    await world.psql.execute(
        "UPDATE embedding_tasks SET status = 'failed', error_message = slug WHERE id = ANY ($1)", before[:2]
    )
    await world.psql.execute("DELETE FROM embedding_tasks WHERE id = ANY ($1)", before[2:3])
    await other.execute("TRUNCATE embedding_tasks; COMMIT")
    await world.psql.execute("SELECT embedq_fold_counts()")
    await world.task(await world.article())
    assert await world.miscounted()
    worker, log = uuid4(), open_log("text", "error", io.StringIO())
    chores = maintenance.Maintenance(
        world.pool, world.database.settings, worker, list, WorkerMetrics(worker, 1), log
    )
    async with beside(chores.run()):
        await until_true(world.psql, "SELECT NOT EXISTS (SELECT FROM embedq_count_drift)")
    assert await world.miscounted() == []


# -- the other program's role


async def test_a_role_with_rights_on_the_public_tables_alone_can_go_on(
    world: World, writer: Connection
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await writer.execute("TABLE embedq_counts")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await writer.execute("TABLE embedq_count_deltas")
    article = await writer.fetchval("INSERT INTO articles (title, slug) VALUES ('T', 's') RETURNING id")
    for statement in (
        "INSERT INTO embedding_tasks (article_id, operation) SELECT $1, 'update' FROM generate_series(1, 5)",
        "UPDATE embedding_tasks SET status = 'processing', processed_at = now() WHERE article_id = $1",
        "UPDATE embedding_tasks SET scheduled_at = now() WHERE article_id = $1",
        "UPDATE embedding_tasks SET status = 'failed', error_message = 'no' WHERE article_id = $1",
        "DELETE FROM articles WHERE id = $1",
    ):
        await writer.execute(statement, article)
        assert await world.miscounted() == []
    await writer.execute("UPDATE embedding_worker_status SET is_running = false")
    assert await world.psql.fetchval("SELECT stopped_at IS NOT NULL FROM embedq_control")
    role = await writer.fetchval("SELECT session_user")
    assert role in await world.psql.fetchval("SELECT stopped_by FROM embedq_control")
    await writer.execute("UPDATE embedding_worker_status SET last_heartbeat = now(), is_running = true")
    await writer.execute("INSERT INTO embedding_tasks (operation) VALUES ('delete')")
    await writer.execute("TRUNCATE embedding_tasks")
    assert await kept(world.psql) == {}


async def test_who_folds_at_a_commit_needs_no_rights_on_our_schema(world: World, writer: Connection) -> None:
    role = await writer.fetchval("SELECT session_user")
    await world.psql.execute(f"GRANT INSERT ON embedq_count_deltas TO {role}")  # as if before PostgreSQL 18
    async with writer.transaction():
        await writer.execute(
            "INSERT INTO embedq_count_deltas (status, priority, delta) "
            "SELECT 'failed', 'low', 0 FROM generate_series(1, 5000)"
        )
        await world.psql.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    await world.psql.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
    assert await world.psql.fetchval("SELECT count(*) FROM embedq_count_deltas") == 0


async def test_a_role_cannot_slip_tables_of_its_own_under_our_triggers(
    world: World, writer: Connection
) -> None:
    """They run with the rights of their owner, so what they name must be ours."""
    await writer.execute(
        """CREATE TEMP TABLE embedq_count_deltas (status text, priority text, delta bigint, fingerprint text);
           CREATE TEMP TABLE embedq_control (stopped_at timestamptz, stopped_by text);
           INSERT INTO embedding_tasks (operation) VALUES ('delete');
           UPDATE embedding_tasks SET status = 'failed';
           UPDATE embedding_worker_status SET is_running = false"""
    )
    assert await world.miscounted() == []
    assert await writer.fetchval("SELECT count(*) FROM pg_temp.embedq_count_deltas") == 0
    assert await world.psql.fetchval("SELECT stopped_at IS NOT NULL FROM embedq_control")


# -- many at once


async def test_counts_are_exact_after_many_writers_at_once(world: World) -> None:
    articles = await world.articles(40)
    done = asyncio.Event()

    async def write(seed: int) -> None:
        dice = Random(seed)
        session = await world.database.connect()
        for _ in range(40):
            article = dice.choice(articles)
            statement = dice.choice(
                [
                    f"""INSERT INTO embedding_tasks (article_id, operation, priority) SELECT id, 'update',
                        (ARRAY['high', 'normal', 'low'])[1 + id % 3]
                        FROM articles WHERE id >= {article} LIMIT 5""",
                    f"""UPDATE embedding_tasks SET status = 'failed', error_message = chr(97 + {article} % 7)
                        WHERE article_id = {article}""",
                    f"UPDATE embedding_tasks SET error_message = 'z' WHERE article_id = {article}",
                    f"""UPDATE embedding_tasks SET status = 'pending', priority = 'high'
                        WHERE article_id = {article}""",
                    f"DELETE FROM embedding_tasks WHERE article_id = {article}",
                    f"""BEGIN; DELETE FROM embedding_tasks WHERE article_id = {article};
                        INSERT INTO embedding_tasks (article_id, operation) VALUES ({article}, 'create');
                        ROLLBACK""",
                    "TRUNCATE embedding_tasks" if dice.random() < 0.1 else "SELECT embedq_fold_counts()",
                ]
            )
            await session.execute(statement)
        await session.close()

    async def fold() -> None:
        while not done.is_set():
            await world.pool.execute("SELECT embedq_fold_counts()")
            await asyncio.sleep(0.005)

    folding = [asyncio.create_task(fold()) for _ in range(2)]
    async with asyncio.timeout(30):
        await asyncio.gather(*(write(seed) for seed in range(8)))
    done.set()
    await asyncio.gather(*folding)
    assert await world.miscounted() == []


async def test_a_long_transaction_keeps_nobody_from_folding(world: World) -> None:
    importer = await world.database.connect()
    async with importer.transaction():
        await importer.execute(
            """DO $$ BEGIN FOR n IN 1..6000 LOOP
                   INSERT INTO embedding_tasks (operation) VALUES ('delete'); END LOOP; END $$"""
        )
        await world.task(await world.article())
        await world.psql.execute("SELECT embedq_fold_counts()")
        assert await world.psql.fetchval("SELECT count(*) FROM embedq_count_deltas") == 0
    assert (
        await world.psql.fetchval("SELECT count(*) FROM embedq_count_deltas") < 6000
    )  # folded at its commit, each of them with a chance of 1 in 500
    assert await world.miscounted() == []


async def test_a_long_transaction_that_cannot_fold_is_committed_all_the_same(world: World) -> None:
    importer = await world.database.connect()
    await world.task(await world.article())
    async with importer.transaction(isolation="repeatable_read"):
        await importer.execute(
            """DO $$ BEGIN FOR n IN 1..3000 LOOP
                   INSERT INTO embedding_tasks (operation) VALUES ('delete'); END LOOP; END $$"""
        )
        await world.psql.execute("SELECT embedq_fold_counts()")
    assert await world.miscounted() == []


async def test_nobody_waits_for_another_who_folds(world: World) -> None:
    await world.tasks(await world.articles(3))
    other = await world.database.connect()
    await other.execute("SET lock_timeout = '50ms'")
    async with world.psql.transaction():
        await world.psql.execute("SELECT embedq_fold_counts()")
        await other.execute("SELECT embedq_fold_counts()")
    assert await world.miscounted() == []


async def test_counts_are_repaired_while_others_write(world: World) -> None:
    await world.tasks(await world.articles(9))
    await world.tasks(await world.articles(2), priority="high")
    drifting = await world.database.connect()
    await drifting.execute(
        """SET session_replication_role = replica;
           UPDATE embedding_tasks SET status = 'failed', priority = 'low' WHERE article_id % 2 = 0;
           DELETE FROM embedding_tasks WHERE article_id % 3 = 0;
           INSERT INTO embedding_tasks (operation, status) VALUES ('delete', 'completed')"""
    )
    assert await world.miscounted()
    done = asyncio.Event()

    async def write(slug: str) -> None:
        session = await world.database.connect()
        while not done.is_set():
            await session.execute(  # each its own rows: two that update the same ones may deadlock
                f"""INSERT INTO embedding_tasks (slug, operation) VALUES ('{slug}', 'delete');
                    UPDATE embedding_tasks SET status = 'completed' WHERE slug = '{slug}'"""
            )
            await session.execute("SELECT embedq_fold_counts()")
        await session.close()

    writers = [asyncio.create_task(write(slug)) for slug in ("one", "two")]
    repairs = []
    for _ in range(5):
        repairs.append(len(await world.psql.fetch("SELECT * FROM embedq_repair_counts()")))
        await asyncio.sleep(0.01)
    done.set()
    await asyncio.gather(*writers)
    assert repairs == [repairs[0], 0, 0, 0, 0]
    assert repairs[0] >= 2
    assert await world.miscounted() == []


async def test_two_repairs_at_once_do_not_repair_twice(world: World) -> None:
    await world.tasks(await world.articles(9))
    drifting = await world.database.connect()
    await drifting.execute("SET session_replication_role = replica; DELETE FROM embedding_tasks")
    async with drifting.transaction():
        assert await drifting.fetch("SELECT * FROM embedq_repair_counts()")
        second = asyncio.create_task(world.psql.fetch("SELECT * FROM embedq_repair_counts()"))
        await waiters(world, 1)
    assert await second == []
    assert await world.miscounted() == []


async def test_a_repair_that_could_not_see_the_one_before_it_is_refused(world: World) -> None:
    with pytest.raises(asyncpg.RaiseError):
        async with world.psql.transaction(isolation="repeatable_read"):
            await world.psql.execute("SELECT * FROM embedq_repair_counts()")
