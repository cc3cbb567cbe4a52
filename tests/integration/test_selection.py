"""Which tasks a filter means, in lists and in actions, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from embedq_worker.actions.tasks import CANCEL, PRIORITISE, Run, carry_out, plan
from embedq_worker.errors import UsageError
from embedq_worker.insights.tasks import TaskRow, list_tasks
from embedq_worker.queue import selection
from embedq_worker.queue.selection import Cursor, Direction, Order, count_tasks, in_order_of_claims, select
from embedq_worker.queue.wanted import TaskFilter
from tests.support.queue_world import World

BULK = UUID("00000000-0000-0000-0000-000000000001")
DIRECTIONS: Sequence[Direction] = ("newest", "oldest")


@pytest.fixture
async def various(world: World) -> World:
    """Tasks of each status, with and without their times, with many ties."""
    await world.articles(3)
    await world.psql.execute(
        "UPDATE articles SET folder = CASE id WHEN 2 THEN '/guides/a_b/' WHEN 3 THEN 'guides-old' ELSE '' END"
    )
    worker = (await world.worker()).worker
    await world.psql.execute(
        """INSERT INTO embedding_tasks (id, article_id, slug, operation, priority, status, created_at,
                                        scheduled_at, processed_at, completed_at, error_message, metadata,
                                        worker_id, claimed_at)
           SELECT embedq_uuid(), 1 + n % 3, CASE WHEN n % 4 > 0 THEN 'slug_' || n % 5 || '%' END, 'update',
                  (ARRAY['high', 'normal', 'low'])[1 + n % 3], s.name,
                  now() - n % 3 * interval '1 hour', now() - n % 6 * interval '1 hour',
                  CASE WHEN s.name <> 'pending' AND n % 5 > 0 THEN now() - n % 4 * interval '1 hour' END,
                  CASE WHEN s.name IN ('completed', 'failed') AND n % 7 > 0
                       THEN now() - n % 5 * interval '1 hour' END,
                  CASE WHEN s.name = 'failed' THEN 'Broke 100%_' || n % 2 || repeat('x', n % 2) END,
                  CASE WHEN n % 3 = 0 THEN jsonb_build_object('bulkOperationId', ($2::uuid[])[1 + n % 2]) END,
                  CASE WHEN s.name = 'processing' THEN $1::uuid END,
                  CASE WHEN s.name = 'processing' AND n % 5 > 0 THEN now() - n % 4 * interval '1 hour' END
           FROM generate_series(1, 40) AS n,
                unnest('{pending,processing,completed,failed}'::text[]) AS s(name)""",
        worker,
        [uuid4(), BULK],
    )
    return world


FILTERS: Sequence[tuple[TaskFilter, str]] = [
    (TaskFilter(), "true"),
    (TaskFilter(statuses=("pending",)), "status = 'pending'"),
    (
        TaskFilter(statuses=("pending", "failed"), priority="low"),
        "status IN ('pending', 'failed') AND priority = 'low'",
    ),
    (TaskFilter(error="broke 100%_1"), r"error_message LIKE 'Broke 100\%\_1%'"),
    (TaskFilter(error="100_"), "false"),
    (TaskFilter(statuses=("completed",), slug="UG_3%"), "status = 'completed' AND slug = 'slug_3%'"),
    (TaskFilter(slug="many-"), "slug IS NULL"),
    (TaskFilter(operation=BULK), f"metadata ->> 'bulkOperationId' = '{BULK}'"),
    (
        TaskFilter(operation=BULK, statuses=("failed",)),
        f"status = 'failed' AND metadata ->> 'bulkOperationId' = '{BULK}'",
    ),
    (TaskFilter(article=2), "article_id = 2"),
    (TaskFilter(folder="/guides/"), "article_id = 2"),
    (TaskFilter(folder="guides/a_b", statuses=("failed",)), "status = 'failed' AND article_id = 2"),
    (TaskFilter(folder="a_b"), "false"),
    (TaskFilter(kind="update", priority="low"), "operation = 'update' AND priority = 'low'"),
    (TaskFilter(kind="delete"), "false"),
    (
        TaskFilter(metadata=f'{{"bulkOperationId":"{BULK}"}}', statuses=("pending",)),
        f"status = 'pending' AND metadata ->> 'bulkOperationId' = '{BULK}'",
    ),
    (
        TaskFilter(article=2, statuses=("failed",), priority="normal"),
        "article_id = 2 AND status = 'failed' AND priority = 'normal'",
    ),
    (
        TaskFilter(statuses=("failed", "pending"), since=timedelta(minutes=150), until=timedelta(minutes=30)),
        """CASE status WHEN 'pending' THEN scheduled_at
                       WHEN 'failed' THEN coalesce(completed_at, processed_at, created_at) END
           BETWEEN now() - interval '150 min' AND now() - interval '30 min'""",
    ),
    (TaskFilter(group="ffffffff"), "false"),
    (TaskFilter(worker=uuid4()), "false"),
    (TaskFilter(statuses=("pending",), group="ffffffff"), "false"),
    (TaskFilter(ids=()), "false"),
]


@pytest.mark.parametrize(
    ("few", "within_s"),
    [(0, 60.0), (selection.FEW_ARTICLES, 60.0), (selection.FEW_ARTICLES, 1e-6)],
    ids=["of many articles", "of few articles", "of articles that are not found in time"],
)
async def test_pages_hold_each_task_once_and_in_order(
    various: World, monkeypatch: pytest.MonkeyPatch, few: int, within_s: float
) -> None:
    monkeypatch.setattr(selection, "FEW_ARTICLES", few)
    monkeypatch.setattr(selection, "FEW_ARTICLES_S", within_s)
    for wanted, sql in FILTERS:
        rows = await various.psql.fetch(f"SELECT id FROM embedding_tasks WHERE {sql}")
        assert bool(rows) == (sql != "false"), wanted.describe()
        for direction in DIRECTIONS:
            found = await pages(various, wanted, direction)
            assert len(found) == len(rows), wanted.describe()
            assert {task.id for task in found} == {row["id"] for row in rows}, wanted.describe()
            times = [task.at for task in found if task.at]
            if wanted.operation is None:
                assert times == sorted(times, reverse=direction == "newest"), wanted.describe()
        chosen = await select(various.psql, wanted)
        assert await count_tasks(various.psql, wanted, chosen) == len(rows), wanted.describe()


@pytest.fixture
async def busy(world: World) -> World:
    """Few articles of one folder, with many tasks."""
    await world.articles(3)
    await world.psql.execute(
        """UPDATE articles SET folder = 'docs';
           INSERT INTO embedding_tasks (id, article_id, operation, status, completed_at)
           SELECT embedq_uuid(), 1 + n % 3, 'update', 'completed', now() - n * interval '1 second'
           FROM generate_series(1, 3000) AS n; ANALYZE"""
    )
    return world


async def test_a_page_does_not_read_all_tasks_of_few_articles_that_have_many(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "FEW_TASKS", 100)
    async with busy.psql.transaction():
        assert len((await list_tasks(busy.psql, TaskFilter(folder="docs"), limit=5)).tasks) == 5
        fetched = await busy.psql.fetchval(
            "SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'embedding_tasks'"
        )
    assert fetched < 300


async def test_a_short_statement_timeout_does_not_keep_a_page_that_is_read_by_time(world: World) -> None:
    """The articles take a second to read, whereas the tasks of the folder are the newest."""
    await world.articles(100)
    await world.psql.execute(
        """UPDATE articles SET folder = 'docs' WHERE id = 100;
           INSERT INTO embedding_tasks (id, article_id, operation, status, completed_at)
           SELECT embedq_uuid(), 1 + n % 100, 'update', 'completed', now() - n % 100 * interval '-1 second'
           FROM generate_series(1, 400) AS n; ANALYZE;
           CREATE OR REPLACE FUNCTION embedq_is_within(p_folder text, p_other text) RETURNS boolean
           LANGUAGE sql IMMUTABLE AS $$ SELECT pg_sleep(0.01) IS NOT NULL AND p_folder = p_other $$;
           SET statement_timeout = '500ms'"""
    )
    wanted = TaskFilter(statuses=("completed",), folder="docs")
    assert len((await list_tasks(world.psql, wanted, limit=3)).tasks) == 3


@pytest.mark.parametrize(
    ("since", "looks"),
    [(timedelta(minutes=1), False), (datetime(2020, 1, 1, tzinfo=UTC), True), (None, True)],
)
async def test_not_all_articles_are_read_for_the_tasks_of_the_last_hours(
    busy: World, since: datetime | timedelta | None, looks: bool
) -> None:
    async with busy.psql.transaction():  # within one, no statistics are sent off
        before = await scans_of_articles(busy)
        await select(busy.psql, TaskFilter(folder="docs", since=since))
        assert (await scans_of_articles(busy) > before) == looks


async def scans_of_articles(world: World) -> int:
    """How often the session has read the whole table."""
    scans: int = await world.psql.fetchval(
        "SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'articles'"
    )
    return scans


async def test_what_is_claimed_next_comes_first(various: World) -> None:
    by_rank = "ORDER BY embedq_rank(priority), scheduled_at NULLS LAST, id"
    for wanted, sql in FILTERS:
        if not in_order_of_claims(wanted):
            with pytest.raises(UsageError):
                await list_tasks(various.psql, wanted, direction="next")
            continue
        rows = await various.psql.fetch(
            f"SELECT id FROM embedding_tasks WHERE status = 'pending' AND ({sql}) {by_rank}"
        )
        found = await pages(various, wanted, "next")
        assert [task.id for task in found] == [row["id"] for row in rows], wanted.describe()


async def test_it_is_the_order_of_the_claim(world: World) -> None:
    tasks = [
        await world.task(await world.article(), priority=priority)
        for priority in ("low", "high", "normal", "high", "low", "normal")
    ]
    await world.psql.execute("UPDATE embedding_tasks SET scheduled_at = now() WHERE id = $1", tasks[1])
    listed = [task.id for task in (await list_tasks(world.psql, TaskFilter(), direction="next")).tasks]
    scope = await world.worker()
    assert listed == [task.id for task in await world.claim(scope)]


async def test_the_ends_of_a_time_are_in_it(world: World) -> None:
    at = datetime(2026, 11, 29, 12, tzinfo=UTC)
    task = await world.task(await world.article())
    await world.psql.execute("UPDATE embedding_tasks SET scheduled_at = $1", at)
    found = await pages(world, TaskFilter(since=at, until=at), "newest")
    assert [row.id for row in found] == [task]


async def pages(world: World, wanted: TaskFilter, direction: Order) -> list[TaskRow]:
    """All pages of a list."""
    found: list[TaskRow] = []
    after = None
    while True:
        page = await list_tasks(world.psql, wanted, limit=7, after=after, direction=direction)
        found += page.tasks
        if page.next is None:
            return found
        assert len(page.tasks) == 7
        after = Cursor.parse(str(page.next))


async def test_a_group_and_a_worker(various: World) -> None:
    rows = await various.psql.fetch(
        """SELECT embedq_fingerprint(error_message) AS name, count(*) AS n FROM embedding_tasks
           WHERE status = 'failed' GROUP BY 1"""
    )
    assert len(rows) == 2
    for row in rows:
        page = await list_tasks(various.psql, TaskFilter(group=row["name"]), limit=100)
        assert len(page.tasks) == row["n"]
    worker = await various.psql.fetchval("SELECT id FROM embedq_workers")
    held = await list_tasks(various.psql, TaskFilter(worker=worker), limit=100)
    assert {task.worker for task in held.tasks} == {worker}
    assert len(held.tasks) == 32
    claimed = await list_tasks(various.psql, TaskFilter(statuses=("processing",)), limit=100)
    assert len(claimed.tasks) == 40  # eight were claimed by another program
    assert sum(task.worker is not None for task in claimed.tasks) == 32
    for begins, tasks in ((worker.hex[:8], held.tasks), (uuid4().hex[:8], ())):
        assert (await list_tasks(various.psql, TaskFilter(worker_begins=begins), limit=100)).tasks == tasks


async def test_a_group_is_of_failed_tasks_whatever_error_others_had(various: World) -> None:
    group = await various.psql.fetchval(
        "SELECT embedq_fingerprint(error_message) FROM embedding_tasks WHERE status = 'failed' LIMIT 1"
    )
    wanted = TaskFilter(group=group)
    before = await list_tasks(various.psql, wanted, limit=100)
    await various.psql.execute(
        """UPDATE embedding_tasks SET error_message = (
               SELECT f.error_message FROM embedding_tasks f
               WHERE embedq_fingerprint(f.error_message) = $1 LIMIT 1) WHERE status <> 'failed'""",
        group,
    )
    assert (await list_tasks(various.psql, wanted, limit=100)).tasks == before.tasks
    assert (await list_tasks(various.psql, wanted, direction="next")).tasks == ()


async def test_a_task_is_found_by_the_beginning_of_its_id(various: World) -> None:
    ids = await various.psql.fetch("SELECT id FROM embedding_tasks")
    for task in [row["id"] for row in ids][:20]:
        begins = task.hex[:9]
        page = await list_tasks(various.psql, TaskFilter(id_begins=begins), limit=1_000)
        matching = {row["id"] for row in ids if row["id"].hex.startswith(begins)}
        assert {one.id for one in page.tasks} == matching


@pytest.mark.parametrize("wanted", [TaskFilter(), TaskFilter(operation=BULK), TaskFilter(article=3)])
async def test_actions_reach_what_a_list_shows(various: World, wanted: TaskFilter) -> None:
    pending = wanted.only("pending")
    listed = await list_tasks(various.psql, pending, limit=1_000)
    planned = await plan(various.psql, CANCEL, pending)
    assert planned.matched == len(listed.tasks) > 0
    outcome = await carry_out(Run(various.psql, planned, "ann@ops", batch_size=4))
    assert sorted(outcome.ids) == sorted(task.id for task in listed.tasks)
    assert (await list_tasks(various.psql, pending)).tasks == ()
    assert await various.miscounted() == []


async def test_an_action_counts_no_task_that_it_would_leave_as_it_is(various: World) -> None:
    planned = await plan(various.psql, PRIORITISE["low"], TaskFilter(statuses=("pending",)))
    outcome = await carry_out(Run(various.psql, planned, "ann@ops"))
    assert 0 < outcome.changed == planned.matched < 40


async def test_tasks_of_an_operation_have_no_order_of_claims(various: World) -> None:
    with pytest.raises(UsageError):
        await list_tasks(various.psql, TaskFilter(operation=BULK), direction="next")


async def test_a_place_of_another_list_is_refused(various: World) -> None:
    place = Cursor(datetime.now(UTC), uuid4())
    with pytest.raises(UsageError):
        await list_tasks(various.psql, TaskFilter(operation=BULK), after=place)


async def test_tasks_without_a_due_time_are_listed_too(world: World) -> None:
    await world.psql.execute("ALTER TABLE embedding_tasks ALTER scheduled_at DROP NOT NULL")
    tasks = [await world.task(await world.article()) for _ in range(3)]
    await world.psql.execute("UPDATE embedding_tasks SET scheduled_at = NULL WHERE id <> $1", tasks[0])
    for direction in DIRECTIONS:
        page = await list_tasks(world.psql, TaskFilter(), direction=direction)
        assert {task.id for task in page.tasks} == set(tasks)
    first = await list_tasks(world.psql, TaskFilter(), direction="next", limit=2)
    rest = await list_tasks(world.psql, TaskFilter(), direction="next", after=first.next)
    assert first.tasks[0].id == tasks[0]
    assert {task.id for task in (*first.tasks[1:], *rest.tasks)} == set(tasks[1:])
    assert len(rest.tasks) == 1
    assert (await plan(world.psql, CANCEL, TaskFilter(slug="article-"))).matched == 3


def test_nonsense_is_refused() -> None:
    for values in ({"statuses": ("waiting",)}, {"priority": "urgent"}, {"group": "xyz"}):
        with pytest.raises(UsageError):
            TaskFilter(**values)
