"""Values at the ends of their types, which one row is enough to bring in: nobody stumbles over it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from embedq_worker.database.codecs import EARLIEST, LATEST
from embedq_worker.database.connections import connect
from embedq_worker.insights.detail import task_detail
from embedq_worker.insights.documents import document_of
from embedq_worker.insights.stuck import stuck
from embedq_worker.insights.tasks import list_tasks
from embedq_worker.queue import fleet
from embedq_worker.queue.claims import ReturnKind
from embedq_worker.queue.selection import Direction
from embedq_worker.queue.wanted import TaskFilter
from tests.support.databases import Database
from tests.support.odd_rows import LOOSE
from tests.support.queue_world import MODEL, World

PENDING = TaskFilter(statuses=("pending",))
MOST = 2**31 - 1
FAR = ["infinity", "294276-12-31 23:59:59+00", "10000-01-01 00:00+00"]
LONG_AGO = ["-infinity", "4714-11-24 00:00:00+00 BC", "0001-01-01 00:00+00"]


@pytest.mark.parametrize(
    ("texts", "wanted", "returned"), [(FAR, LATEST, "infinity"), (LONG_AGO, EARLIEST, "-infinity")]
)
async def test_times_beyond_the_calendar_are_its_ends_in_every_zone(
    database: Database, texts: list[str], wanted: datetime, returned: str
) -> None:
    connection = await connect(database.settings)
    for text in texts:
        found: datetime = await connection.fetchval("SELECT $1::text::timestamptz", text)
        assert found == wanted
        for hours in (-14, 14):
            assert found + timedelta(hours=hours)
            assert found.astimezone(UTC)
        assert await connection.fetchval("SELECT $1::timestamptz = $2::text::timestamptz", found, text)
    assert await connection.fetchval("SELECT $1::timestamptz::text", wanted) == returned
    await connection.close()


async def test_ordinary_times_go_there_and_back_unchanged(database: Database) -> None:
    connection = await connect(database.settings)
    for when in (
        datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
    ):
        assert await connection.fetchval("SELECT $1::timestamptz", when) == when
        assert await connection.fetchval("SELECT $1::timestamptz[]", [when, None]) == [when, None]
    await connection.close()


async def set_all(world: World, values: str) -> None:
    await world.psql.execute(f"UPDATE embedding_tasks SET {values}")


async def test_a_counter_at_its_end_stays_there_and_the_others_of_the_batch_are_claimed_and_completed(
    world: World,
) -> None:
    articles = await world.articles(3)
    tasks = await world.tasks(articles)
    await set_all(world, f"attempts = {MOST}, max_attempts = {MOST}, claim_token = 9223372036854775807")
    scope = await world.worker()
    assert await world.complete(scope, *await world.claim(scope)) == ["stored"] * 3
    assert (await world.row(tasks[0]))["attempts"] == MOST


@pytest.mark.parametrize("kind", list(ReturnKind))
async def test_a_counter_at_its_end_is_given_back(world: World, kind: ReturnKind) -> None:
    await world.task(await world.article())
    await set_all(world, f"attempts = {MOST}, crash_count = 32767")
    scope = await world.worker()
    charged = kind in (ReturnKind.RETRY, ReturnKind.FINAL)
    assert await world.give_back(scope, *await world.claim(scope), kind=kind) == [
        "failed" if charged else "requeued"
    ]


async def test_a_counter_at_its_end_is_rescued(world: World) -> None:
    tasks = await world.tasks(await world.articles(2))
    scope = await world.worker()
    assert await world.claim(scope)
    await world.psql.execute(
        "UPDATE embedding_tasks SET attempts = $2, crash_count = 32767, max_attempts = $2 WHERE id = $1",
        tasks[0],
        MOST,
    )
    await world.psql.execute(
        "UPDATE embedding_tasks SET attempts = $2, processed_at = now() - interval '1 h' WHERE id = $1",
        tasks[1],
        MOST,
    )
    await world.die(scope)
    assert {item.task_id for item in await world.rescue()} == set(tasks)


async def test_attempts_below_nothing_count_as_none(world: World) -> None:
    task = await world.task(await world.article(), max_attempts=2)
    await set_all(world, "attempts = -2147483648")
    scope = await world.worker()
    assert await world.give_back(scope, *await world.claim(scope)) == ["requeued"]
    assert (await world.row(task))["attempts"] == 1
    assert await world.give_back(scope, *await world.claim(scope)) == ["failed"]


async def test_what_waits_for_no_time_becomes_due(world: World) -> None:
    task = await world.task(await world.article())
    await world.psql.execute("ALTER TABLE embedding_tasks ALTER scheduled_at DROP NOT NULL")
    await set_all(world, "scheduled_at = NULL")
    scope = await world.worker()
    assert await world.claim(scope) == []
    await world.rescue()
    assert (await world.claim_one(scope)).id == task


@pytest.mark.parametrize("text", ["varchar", "varchar(9000)", "words"])
async def test_texts_of_any_type_are_embedded(world: World, text: str) -> None:
    await world.psql.execute(
        f"""CREATE DOMAIN words AS text;
            ALTER TABLE articles ALTER title TYPE {text}, ALTER slug TYPE {text}, ALTER content TYPE {text},
                ALTER folder TYPE {text};
            ALTER TABLE embeddings ALTER chunk_id TYPE {text}, ALTER text_content TYPE {text},
                ALTER content_hash TYPE {text};
            ALTER TABLE embedding_tasks ALTER slug TYPE {text}, ALTER operation TYPE {text},
                ALTER priority TYPE {text}, ALTER status TYPE {text}, ALTER error_message TYPE {text}"""
    )
    article = await world.article(folder="a")
    scope = await world.worker()
    for outcome in ("requeued", "stored"):
        await world.task(article)
        held = await world.claim_one(scope)
        ended = world.give_back(scope, held) if outcome == "requeued" else world.complete(scope, held)
        assert await ended == [outcome]
    assert await world.psql.fetch("SELECT * FROM embedq_backfill_page(0, 9, $1, NULL)", MODEL)
    assert await world.miscounted() == []


@pytest.mark.parametrize("precision", [0, 3])
async def test_times_that_are_rounded_are_no_lost_claim(world: World, precision: int) -> None:
    for column in ("created_at", "scheduled_at", "processed_at", "completed_at"):
        await world.psql.execute(f"ALTER TABLE embedding_tasks ALTER {column} TYPE timestamptz({precision})")
    scope = await world.worker()
    for _ in range(4):
        task = await world.task(await world.article(), due_s=-1)
        held = await world.claim_one(scope)
        assert await world.give_back(scope, held, kind=ReturnKind.RELEASE) == ["requeued"]
        await world.psql.execute("UPDATE embedding_tasks SET scheduled_at = now() - interval '1 second'")
        assert await world.rescue() == []
        assert await world.complete(scope, await world.claim_one(scope)) == ["stored"]
        assert (await world.row(task))["status"] == "completed"
    assert await world.psql.fetchval("SELECT min(value) FROM performance_metrics") >= 0


@pytest.mark.parametrize(
    "times",
    ["processed_at = NULL, created_at = NULL", "processed_at = 'infinity'", "processed_at = '30000-01-01'"],
)
async def test_a_claim_of_another_program_at_no_time_ends_one_day(world: World, times: str) -> None:
    task = await world.task(await world.article())
    await world.psql.execute("ALTER TABLE embedding_tasks ALTER created_at DROP NOT NULL")
    await set_all(world, f"status = 'processing', {times}")
    async with world.pool.acquire() as ours:
        (found,) = (await stuck(ours, world.database.settings)).tasks
        page = await list_tasks(ours, TaskFilter(statuses=("processing",)))
    assert found.id == task
    assert [row.id for row in page.tasks] == [task]
    assert [item.task_id for item in await world.rescue()] == [task]


async def test_a_claim_of_another_program_whose_clock_is_ahead_is_its_own(world: World) -> None:
    await world.task(await world.article())
    await set_all(world, "status = 'processing', processed_at = now() + interval '3 hours'")
    assert await world.rescue() == []


async def test_a_task_put_off_for_ever_keeps_no_drain_waiting(world: World) -> None:
    await world.task(await world.article())
    await set_all(world, "scheduled_at = 'infinity'")
    outlook = await fleet.outlook(world.pool, await world.worker(), within_s=60)
    assert (outlook.more, outlook.next_s) == (False, None)


async def test_a_task_without_operation_or_priority_is_worked_off_and_counted(world: World) -> None:
    await world.task(await world.article())
    await world.psql.execute(LOOSE)
    await set_all(world, "operation = NULL, priority = NULL")
    await world.psql.execute("SELECT embedq_fold_counts()")
    async with world.pool.acquire() as ours:
        assert [row.operation for row in (await list_tasks(ours, PENDING)).tasks] == [""]
    scope = await world.worker()
    assert await world.complete(scope, await world.claim_one(scope)) == ["stored"]
    assert await world.miscounted() == []


async def test_tasks_without_status_are_counted_as_they_are_and_waited_for_by_nobody(world: World) -> None:
    await world.tasks(await world.articles(3))
    await world.psql.execute(LOOSE)
    await world.psql.execute("UPDATE embedding_tasks SET status = NULL")
    await world.psql.execute("SELECT embedq_fold_counts()")
    assert await world.claim(await world.worker()) == []
    assert await world.miscounted() == []
    assert await world.psql.fetchval("SELECT sum(n) FROM embedq_live_counts") == 3
    await world.psql.execute("UPDATE embedding_tasks SET status = 'pending'")
    assert len(await world.claim(await world.worker())) == 3


@pytest.mark.parametrize("made", ["infinity", "-infinity", "294276-01-01", "4713-01-01 BC"])
async def test_a_task_made_at_no_time_is_completed(world: World, made: str) -> None:
    task = await world.task(await world.article())
    await set_all(world, f"created_at = '{made}'")
    scope = await world.worker()
    assert await world.complete(scope, await world.claim_one(scope)) == ["stored"]
    async with world.pool.acquire() as ours:
        detail = await task_detail(ours, world.database.settings, task)
    assert detail is not None
    assert detail.task.created_at in (EARLIEST, LATEST)


async def test_a_list_of_tasks_at_far_times_comes_to_its_end(world: World) -> None:
    tasks = await world.tasks(await world.articles(9))
    for number, text in enumerate([*FAR, *LONG_AGO]):
        await world.psql.execute(
            "UPDATE embedding_tasks SET scheduled_at = $2::text::timestamptz WHERE id = $1",
            tasks[number],
            text,
        )
    assert await pages(world, "newest") == await pages(world, "oldest") == set(tasks)


async def pages(world: World, direction: Direction) -> set[UUID]:
    """Tasks of a list, page by page."""
    found: set[UUID] = set()
    after, left = None, 9
    async with world.pool.acquire() as ours:
        while left:
            page = await list_tasks(ours, PENDING, limit=4, after=after, direction=direction)
            found |= {row.id for row in page.tasks}
            after, left = page.next, left - 1 if page.next else 0
    assert after is None
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        ('{"a": 1e400}', {"a": "1e400"}),
        ("7" * 5_000, "7" * 5_000),
        ("[" * 500 + "]" * 500, "[" * 500 + "]" * 500),
        ("[" * 100_000 + "]" * 100_000, "[" * 100_000 + "]" * 100_000),
    ],
    ids=["plain", "no float", "long", "deep", "abyss"],
)
def test_documents_of_others_are_values_that_can_be_written_again(text: str, value: object) -> None:
    assert document_of(text) == value


async def test_crashes_below_nothing_count_as_none(world: World) -> None:
    tasks = await world.tasks(await world.articles(3))
    await set_all(world, "crash_count = -1")
    assert [task.id for task in await world.claim(await world.worker())] == tasks
