"""Lists and actions read the tasks they are about, by index, whatever the planner believes of the table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from embedq_worker.actions.tasks import (
    CANCEL,
    PRIORITISE,
    RELEASE,
    RETRY,
    RETRY_NEXT,
    RETRY_WAITING,
    Action,
    Run,
    carry_out,
    plan,
)
from embedq_worker.actions.undo import undo, undoable
from embedq_worker.configuration.settings import Settings
from embedq_worker.insights.detail import article_detail, article_id, task_detail
from embedq_worker.insights.tasks import list_tasks, recent
from embedq_worker.queue.retention import count_expired
from embedq_worker.queue.selection import Order, in_order_of_claims
from embedq_worker.queue.wanted import TaskFilter
from tests.support.databases import Connection
from tests.support.queue_world import World

BULK = UUID(int=1)
BATCH = 100

FILL = """
INSERT INTO articles (title, slug, content) SELECT 'T', 's-' || n, 'x' FROM generate_series(1, {0} / 10) n;
INSERT INTO embedding_tasks (id, article_id, slug, operation, priority, status, created_at, scheduled_at,
                             processed_at, completed_at, error_message, metadata)
SELECT embedq_uuid(), 1 + n % ({0} / 10), 's', CASE WHEN n % 40 = 11 THEN 'delete' ELSE 'update' END,
       (ARRAY['high', 'normal', 'low'])[1 + n % 3], s.name, at, at, CASE WHEN s.name <> 'pending' THEN at END,
       CASE WHEN s.name IN ('completed', 'failed') AND n % 1000 > 1 THEN at END,
       CASE WHEN s.name = 'failed' THEN (ARRAY['alpha', 'beta'])[1 + (n % 50 = 0)::int] END,
       CASE WHEN n % 40 < 2 THEN jsonb_build_object('bulkOperationId', $1::uuid) END
FROM (SELECT n, now() - n * interval '1 second' AS at,
             CASE WHEN n % 10 = 0 THEN 'failed' WHEN n % 10 = 1 THEN 'pending' ELSE 'completed' END AS name
      FROM generate_series(1, {0}) n) AS s;
INSERT INTO embedding_audit_logs (level, category, message, task_id, timestamp)
SELECT 'info', 'task_lifecycle', 'm', id, created_at FROM embedding_tasks;
"""

PAGES = [
    TaskFilter(),
    TaskFilter(statuses=("failed",)),
    TaskFilter(statuses=("pending",), priority="low"),
    TaskFilter(statuses=("completed",), since=timedelta(hours=2), until=timedelta(hours=1)),
    TaskFilter(since=timedelta(hours=1)),
    TaskFilter(operation=BULK),
    TaskFilter(article=5),
    TaskFilter(worker=uuid4()),
]

ACTIONS = [
    (RETRY, TaskFilter()),
    (RETRY, TaskFilter(since=timedelta(minutes=30))),
    (RETRY_WAITING, TaskFilter()),
    (CANCEL, TaskFilter(statuses=("pending",))),
    (CANCEL, TaskFilter(operation=BULK)),
    (CANCEL, TaskFilter(article=1)),
    (PRIORITISE["high"], TaskFilter(priority="low")),
    (RELEASE, TaskFilter(until=timedelta(minutes=30))),
]


async def read(session: Connection) -> tuple[int, int]:
    """Scans of whole tables and rows fetched by index, in this transaction so far."""
    row: asyncpg.Record | None = await session.fetchrow(
        """SELECT sum(seq_scan) AS scans, sum(idx_tup_fetch) AS rows FROM pg_stat_xact_user_tables
           WHERE relname IN ('embedding_tasks', 'embedding_audit_logs', 'articles', 'embeddings')"""
    )
    assert row is not None
    return int(row["scans"]), int(row["rows"])


@asynccontextmanager
async def reading_at_most(
    session: Connection, rows: int, what: str, *, frozen: bool = False
) -> AsyncIterator[None]:
    """A transaction that is rolled back, and that must read no table from end to end and few rows."""
    transaction = session.transaction(isolation="repeatable_read" if frozen else "read_committed")
    await transaction.start()
    before = await read(session)
    yield
    after = await read(session)
    await transaction.rollback()
    assert after[0] == before[0], what
    assert after[1] - before[1] <= rows, what


async def list_pages(session: Connection, wanted: TaskFilter, direction: Order) -> None:
    """Two pages."""
    page = await list_tasks(session, wanted, limit=BATCH, direction=direction)
    if page.next:
        await list_tasks(session, wanted, limit=BATCH, after=page.next, direction=direction)


async def act(session: Connection, action: Action, wanted: TaskFilter) -> int:
    """Three batches.

    Returns:
        How many tasks were counted.
    """
    planned = await plan(session, action, wanted)
    run = Run(session, planned, "ann@ops", batch_size=BATCH)
    await carry_out(run, limit=3 * BATCH)
    if action is CANCEL and planned.matched:
        assert (await undoable(session, run.outcome.operation_id)).open == run.outcome.changed
        assert (await undo(session, run.outcome.operation_id, "ann@ops")).changed == run.outcome.changed
    return planned.matched


async def use(session: Connection, settings: Settings, rows: int) -> None:
    """All lists and actions."""
    group: str = await session.fetchval("SELECT embedq_fingerprint('beta')")
    for wanted in (*PAGES, TaskFilter(group=group)):
        orders: list[Order] = ["newest", "oldest"]
        for direction in [*orders, "next"] if in_order_of_claims(wanted) else orders:
            async with reading_at_most(session, 20 * BATCH, wanted.describe()):
                await list_pages(session, wanted, direction)
    for action, wanted in (*ACTIONS, (RETRY, TaskFilter(group=group))):
        # What is counted is read once, and what is changed a few times.
        async with reading_at_most(session, rows // 4 + 40 * BATCH, f"{action.name} {wanted.describe()}"):
            await act(session, action, wanted)
    task, article = await session.fetchval("SELECT (id, article_id) FROM embedding_tasks LIMIT 1")
    async with reading_at_most(session, 500, "details", frozen=True):
        assert await task_detail(session, settings, task)
        assert await article_detail(session, settings, article)
        assert await article_detail(session, settings, await article_id(session, "s-7"))
    async with reading_at_most(session, 500, "retention"):
        assert (await recent(session)).tasks
        assert (await count_expired(session, days=365)).tasks == 0


async def fill(session: Connection, rows: int) -> None:
    """So many tasks of a tenth as many articles."""
    for statement in FILL.format(rows).strip().split(";\n"):
        await session.execute(statement.rstrip(";"), *([BULK] if "$1" in statement else []))


async def index_scans(session: Connection, action: Action) -> int:
    """Index scans by an action on all tasks, which is rolled back."""
    scans = "SELECT idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'embedding_tasks'"
    transaction = session.transaction()
    await transaction.start()
    before: int = await session.fetchval(scans)
    await act(session, action, TaskFilter())
    after: int = await session.fetchval(scans)
    await transaction.rollback()
    return after - before


@pytest.mark.parametrize("rows", [20_000, pytest.param(200_000, marks=pytest.mark.slow)])
async def test_lists_and_actions_read_what_they_are_about(world: World, rows: int) -> None:
    await world.task(await world.article())
    await world.psql.execute("ANALYZE")
    await world.psql.execute("TRUNCATE articles RESTART IDENTITY CASCADE")
    await world.psql.execute("ANALYZE")  # of almost nothing: what the planner believes from here on
    await fill(world.psql, rows)
    for setting in ("force_generic_plan", "auto"):
        session = await world.database.connect()
        await session.execute(f"SET plan_cache_mode = {setting}")
        await use(session, world.database.settings, rows)
        await session.close()
    await world.psql.execute("ANALYZE")
    await use(world.psql, world.database.settings, rows)


async def test_tasks_of_a_folder_of_few_articles_are_looked_up_by_article(world: World) -> None:
    await fill(world.psql, 5_000)
    await world.psql.execute(
        "UPDATE articles SET folder = CASE WHEN id % 250 = 7 THEN 'few/' ELSE 'many' END"
    )
    await world.psql.execute("ANALYZE")
    rows = "SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'embedding_tasks'"
    for wanted, tasks in ((TaskFilter(folder="few"), 20), (TaskFilter(folder="none"), 0)):
        async with world.psql.transaction():
            before: int = await world.psql.fetchval(rows)
            assert len((await list_tasks(world.psql, wanted)).tasks) == tasks
            assert await world.psql.fetchval(rows) - before <= 100, wanted.describe()


async def test_the_head_of_the_queue_is_looked_up_once_per_priority(world: World) -> None:
    article = await world.article()
    for priority in ("high", "normal", "low"):
        for _ in range(10):
            await world.task(article, priority=priority)
    await world.psql.execute("UPDATE embedding_tasks SET status = 'failed'")
    scans = [await index_scans(world.psql, action) for action in (RETRY, RETRY_NEXT)]
    assert scans[1] - scans[0] <= 3
