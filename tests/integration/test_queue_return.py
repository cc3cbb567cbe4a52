"""Claims that did not lead to embeddings: retried, failed, released, tried alone."""

from __future__ import annotations

import asyncio
from random import Random

import asyncpg
import pytest

from embedq_worker.queue import claims
from embedq_worker.queue.claims import Return, ReturnKind
from tests.support.content import until_true
from tests.support.queue_world import World


async def test_a_retry_waits_for_its_delay_by_the_clock_of_the_database(world: World) -> None:
    task = await world.task(await world.article())
    scope = await world.worker()
    held = await world.claim_one(scope)
    assert await world.give_back(scope, held, delay_s=90) == ["requeued"]
    row = await world.row(task)
    assert (row["status"], row["attempts"], row["processed_at"]) == ("pending", 1, None)
    assert (row["error_message"], row["completed_at"]) == ("it went wrong", None)
    wait = await world.psql.fetchval(
        "SELECT extract(epoch FROM scheduled_at - clock_timestamp())::float8 FROM embedding_tasks"
    )
    assert 80 < wait <= 90
    assert await world.claim(scope) == []


@pytest.mark.parametrize("max_attempts", [0, 1, 3])
async def test_a_task_fails_when_its_own_attempts_are_used_up(world: World, max_attempts: int) -> None:
    task = await world.task(await world.article(), max_attempts=max_attempts)
    scope = await world.worker()
    outcomes = []
    while held := await world.claim(scope):
        outcomes += await world.give_back(scope, *held)
    assert outcomes == ["requeued"] * (max_attempts - 1) + ["failed"]
    row = await world.row(task)
    assert (row["status"], row["attempts"]) == ("failed", max(max_attempts, 1))
    assert row["completed_at"] >= row["processed_at"]
    assert await world.audited(task) == 2 * len(outcomes)
    errors = await world.psql.fetchval("SELECT count(*) FROM embedding_audit_logs WHERE level = 'error'")
    assert errors == 1


async def test_a_failed_task_that_an_operator_sets_to_pending_is_due_at_once(world: World) -> None:
    task = await world.task(await world.article(), max_attempts=1)
    scope = await world.worker()
    assert await world.give_back(scope, await world.claim_one(scope), delay_s=90) == ["failed"]
    await world.psql.execute("UPDATE embedding_tasks SET status = 'pending'")
    assert (await world.claim_one(scope)).id == task


async def test_numbers_that_another_program_left_out_have_their_defaults(world: World) -> None:
    """Its table allows nulls where ours has none."""
    await world.psql.execute(
        """ALTER TABLE embedding_tasks ALTER attempts DROP NOT NULL, ALTER max_attempts DROP NOT NULL,
               ALTER created_at DROP NOT NULL"""
    )
    returned, foreign, completed = [await world.task(await world.article()) for _ in range(3)]
    await world.psql.execute(
        "UPDATE embedding_tasks SET attempts = NULL, max_attempts = NULL, created_at = NULL"
    )
    scope = await world.worker()
    for _ in range(3):
        for task in await world.claim(scope):
            if task.id == completed:
                assert task.attempts == 0
                assert await world.complete(scope, task) == ["stored"]
            elif task.id == foreign:
                await world.psql.execute(
                    "UPDATE embedding_tasks SET processed_at = now() - interval '1 hour' WHERE id = $1",
                    foreign,
                )
                assert len(await world.rescue()) == 1
            else:
                await world.give_back(scope, task)
    for ended, status, attempts in (
        (returned, "failed", 3),
        (foreign, "failed", 3),
        (completed, "completed", 1),
    ):
        row = await world.row(ended)
        assert (row["status"], row["attempts"]) == (status, attempts)


@pytest.mark.parametrize("kind", [ReturnKind.RETRY, ReturnKind.FINAL])
async def test_an_attempt_with_a_text_of_before_is_not_charged(world: World, kind: ReturnKind) -> None:
    articles = await world.articles(3)
    tasks = await world.tasks(articles, max_attempts=1)
    scope = await world.worker()
    held = await world.claim(scope)
    await world.psql.execute("UPDATE articles SET content = 'New.' WHERE id = $1", articles[0])
    await world.psql.execute("UPDATE articles SET no_rag = true WHERE id = $1", articles[1])
    assert await world.give_back(scope, *held, kind=kind, delay_s=60) == ["changed", "changed", "failed"]
    for task in tasks[:2]:
        row = await world.row(task)
        assert (row["status"], row["attempts"], row["error_message"]) == ("pending", 0, None)
    assert await world.complete(scope, *await world.claim(scope)) == ["stored", "skipped"]
    assert await world.texts(articles[0]) == ["New."]


@pytest.mark.parametrize("operation", ["update", "delete"])
async def test_an_attempt_that_no_text_had_part_in_is_charged(world: World, operation: str) -> None:
    await world.task(await world.article(no_rag=operation == "update"), operation, max_attempts=1)
    scope = await world.worker()
    held = await world.claim_one(scope)
    await world.psql.execute("UPDATE articles SET content = 'New.'")
    assert await world.give_back(scope, held) == ["failed"]


async def test_what_cannot_work_fails_at_once(world: World) -> None:
    task = await world.task(await world.article(), max_attempts=5)
    scope = await world.worker()
    held = await world.claim_one(scope)
    items = [Return(held, ReturnKind.FINAL, "too long", "Traceback", delay_s=5)]
    assert await claims.give_back(world.pool, scope, items) == {task: "failed"}
    row = await world.row(task)
    assert (row["status"], row["attempts"], row["error_message"]) == ("failed", 1, "too long")
    assert await world.psql.fetchval("SELECT stack_trace FROM embedding_audit_logs WHERE level = 'error'")


async def test_a_release_charges_nothing_and_keeps_the_place(world: World) -> None:
    articles = await world.articles(2)
    first, second = await world.task(articles[0], due_s=-90), await world.task(articles[1])
    await world.psql.execute("UPDATE embedding_tasks SET error_message = 'earlier' WHERE id = $1", first)
    scope = await world.worker()
    before = await world.row(first)
    tasks = await world.claim(scope)
    for _ in range(4):
        assert await world.give_back(scope, *tasks, kind=ReturnKind.RELEASE) == ["requeued", "requeued"]
        tasks = await world.claim(scope)
        assert [task.id for task in tasks] == [first, second]
    row = await world.row(first)
    for column in ("attempts", "scheduled_at", "error_message", "crash_count"):
        assert row[column] == before[column]
    assert await world.audited(first) == 5 + 4


@pytest.mark.parametrize(
    ("kind", "level", "category"),
    [
        (ReturnKind.RETRY, "warn", "error_handling"),
        (ReturnKind.FINAL, "error", "error_handling"),
        (ReturnKind.ISOLATE, "warn", "error_handling"),
        (ReturnKind.RELEASE, "debug", "task_lifecycle"),
    ],
)
async def test_who_reads_the_audit_log_can_leave_out_what_is_no_error(
    world: World, kind: ReturnKind, level: str, category: str
) -> None:
    articles = await world.articles(2)
    task, changed = await world.tasks(articles)
    scope = await world.worker()
    held = await world.claim(scope)
    await world.psql.execute("UPDATE articles SET content = 'New.' WHERE id = $1", articles[1])
    await world.give_back(scope, *held, kind=kind)
    charged = kind in (ReturnKind.RETRY, ReturnKind.FINAL)
    of_changed = ("info", "task_lifecycle") if charged else (level, category)
    for about, expected in ((task, (level, category)), (changed, of_changed)):
        rows = await world.psql.fetch(
            "SELECT level, category FROM embedding_audit_logs WHERE task_id = $1 ORDER BY timestamp", about
        )
        assert tuple(rows[-1]) == expected


async def test_one_of_a_spoilt_batch_is_tried_alone(world: World) -> None:
    await world.tasks(await world.articles(3))
    scope = await world.worker()
    tasks = await world.claim(scope)
    assert await world.give_back(scope, *tasks, kind=ReturnKind.ISOLATE) == ["requeued"] * 3
    for _ in range(3):
        (task,) = await world.claim(scope)
        assert (task.attempts, (await world.row(task.id))["crash_count"]) == (0, 1)
        await world.complete(scope, task)
    assert {row["crash_count"] for row in await world.psql.fetch("TABLE embedding_tasks")} == {None}


async def test_a_retry_forgets_the_suspicion(world: World) -> None:
    await world.task(await world.article())
    await world.psql.execute("UPDATE embedding_tasks SET crash_count = 2")
    scope = await world.worker()
    await world.give_back(scope, await world.claim_one(scope))
    task = await world.claim_one(scope)
    assert (await world.row(task.id))["crash_count"] is None


async def test_kinds_of_a_batch_do_not_mix(world: World) -> None:
    await world.tasks(await world.articles(4))
    scope = await world.worker()
    tasks = await world.claim(scope)
    await world.psql.execute("DELETE FROM embedding_tasks WHERE id = $1", tasks[0].id)
    kinds = [ReturnKind.RETRY, ReturnKind.FINAL, ReturnKind.RELEASE, ReturnKind.RETRY]
    items = [Return(task, kind, kind.value) for task, kind in zip(tasks, kinds, strict=True)]
    outcomes = await claims.give_back(world.pool, scope, items)
    assert [outcomes[task.id] for task in tasks] == ["lost", "failed", "requeued", "requeued"]
    rows = {row["id"]: row["error_message"] for row in await world.psql.fetch("TABLE embedding_tasks")}
    assert [rows[task.id] for task in tasks[1:]] == ["final", None, "retry"]


async def test_returns_wait_for_a_locked_task_and_for_no_circle(world: World) -> None:
    """The operator's statement locks tasks in its own order; neither side may become a deadlock's victim."""
    articles = await world.articles(60)
    await world.tasks(articles)
    deadlocks = 0
    done = asyncio.Event()

    async def work(seed: int) -> None:
        nonlocal deadlocks
        scope = await world.worker()
        for _ in range(12):
            tasks = await world.claim(scope, 20)
            Random(seed).shuffle(tasks)
            try:
                outcomes = await world.give_back(scope, *tasks, kind=ReturnKind.RELEASE)
            except asyncpg.DeadlockDetectedError:
                deadlocks += 1
            else:
                assert set(outcomes) <= {"requeued", "lost"}

    async def operate(order: str) -> None:
        nonlocal deadlocks
        session = await world.database.connect()
        await session.execute("SET deadlock_timeout = '20ms'")
        while not done.is_set():
            try:
                await session.execute(
                    f"""WITH stuck AS (SELECT id FROM embedding_tasks WHERE status = 'processing'
                                      ORDER BY {order} FOR UPDATE)
                        UPDATE embedding_tasks t SET status = 'pending', processed_at = NULL
                        FROM stuck WHERE t.id = stuck.id"""
                )
            except asyncpg.DeadlockDetectedError:
                deadlocks += 1
            await asyncio.sleep(0.01)
        await session.close()

    operator = asyncio.create_task(operate("id DESC"))
    await asyncio.gather(*(work(seed) for seed in range(4)))
    done.set()
    await operator
    assert deadlocks == 0


async def test_a_return_of_a_locked_task_comes_when_the_lock_is_gone(world: World) -> None:
    await world.tasks(await world.articles(3))
    scope = await world.worker()
    held = await world.claim(scope)
    other = await world.database.connect()
    async with other.transaction():
        await other.execute("UPDATE embedding_tasks SET metadata = '{}' WHERE id = $1", held[0].id)
        returning = asyncio.create_task(world.give_back(scope, *held, delay_s=5))
        watch = await world.database.connect()
        await until_true(watch, "SELECT sum(attempts) = 2 FROM embedding_tasks")  # they are not kept waiting
    assert await returning == ["requeued"] * 3
