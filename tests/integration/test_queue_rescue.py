"""Tasks that no living worker holds come back, and killers end."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from time import monotonic
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from embedq_worker.database.connections import open_pool
from embedq_worker.process.host import HostIdentity
from embedq_worker.queue import fleet
from embedq_worker.service import maintenance
from embedq_worker.service.logs import open_log
from embedq_worker.service.metrics import WorkerMetrics
from embedq_worker.waits import beside
from tests.support.content import until_true
from tests.support.queue_world import World, waiters
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until


async def held_by_the_dead(world: World, count: int = 3) -> list[UUID]:
    """Tasks in the hands of a worker that is silent."""
    tasks = await world.tasks(await world.articles(count))
    scope = await world.worker()
    assert len(await world.claim(scope)) == count
    await world.die(scope)
    return tasks


@pytest.mark.parametrize("state", ["running", "stopping"])
async def test_tasks_of_a_silent_worker_come_back_uncharged_and_it_is_dead(world: World, state: str) -> None:
    tasks = await held_by_the_dead(world)
    await world.psql.execute("UPDATE embedq_workers SET state = $1", state)
    alive = await world.worker()
    rescued = await world.rescue()
    assert sorted(item.task_id for item in rescued) == sorted(tasks)
    assert {(item.outcome, item.reason) for item in rescued} == {("requeued", "worker gone")}
    for task in tasks:
        row = await world.row(task)
        assert (row["status"], row["attempts"], row["crash_count"]) == ("pending", 0, 1)
        assert (row["worker_id"], row["processed_at"], row["completed_at"]) == (None, None, None)
        assert await world.audited(task) == 2
    states = "SELECT id = $1 AS alive, state FROM embedq_workers ORDER BY 1"
    assert [tuple(row) for row in await world.psql.fetch(states, alive.worker)] == [
        (False, "dead"),
        (True, "running"),
    ]
    assert await world.rescue() == []


async def test_what_ended_a_worker_is_not_written_over_by_later_rescues(world: World) -> None:
    await held_by_the_dead(world)
    left = await world.worker()
    await fleet.leave(world.pool, left.worker, "drained")
    ends = "SELECT state, note, stopped_at FROM embedq_workers ORDER BY state"
    await world.rescue()
    before = await world.psql.fetch(ends)
    assert [row["state"] for row in before] == ["dead", "stopped"]
    assert (before[0]["note"], before[1]["note"]) == ("no heartbeat", "drained")
    assert before[0]["stopped_at"] is not None
    assert await world.rescue() == []
    assert await world.psql.fetch(ends) == before


async def test_after_a_clock_is_set_back_the_dead_do_not_seem_alive_for_hours(world: World) -> None:
    await held_by_the_dead(world)
    await world.psql.execute("UPDATE embedq_workers SET heartbeat_at = now() + interval '5 hours'")
    assert await world.rescue() == []
    assert await world.psql.fetchval("SELECT heartbeat_at <= clock_timestamp() FROM embedq_workers")


async def test_after_a_clock_is_set_back_what_was_due_when_it_was_created_is_due(world: World) -> None:
    hour = 3_600.0
    due = [await world.task(article, due_s=5 * hour, made_s=5 * hour) for article in await world.articles(2)]
    for made_s, due_s in (
        (5 * hour, 6 * hour),
        (-60.0, 5 * hour),
    ):  # scheduled for later, or to be tried again
        await world.task(await world.article(), due_s=due_s, made_s=made_s)
    scope = await world.worker()
    assert await world.claim(scope) == []
    for _ in range(2):
        assert await world.rescue() == []
    assert {task.id for task in await world.claim(scope)} == set(due)
    told = "SELECT metadata ->> 'tasks' FROM embedding_audit_logs WHERE level = 'warn'"
    assert [row[0] for row in await world.psql.fetch(told)] == ["2"]


async def test_tasks_of_a_living_worker_stay_with_it(world: World) -> None:
    await world.tasks(await world.articles(2))
    scope = await world.worker()
    tasks = await world.claim(scope)
    assert await world.rescue() == []
    await world.psql.execute("UPDATE embedq_workers SET state = 'stopping'")
    assert await world.rescue() == []
    assert await world.complete(scope, *tasks) == ["stored", "stored"]


async def test_a_worker_that_signed_off_or_was_forgotten_holds_nothing(world: World) -> None:
    for statement in ("UPDATE embedq_workers SET state = 'stopped'", "DELETE FROM embedq_workers"):
        await world.task(await world.article(), max_attempts=9)
        await world.claim(await world.worker())
        await world.psql.execute(statement)
        (rescued,) = await world.rescue()
        assert rescued.reason == "worker gone"
        await world.psql.execute("DELETE FROM embedding_tasks")


async def test_a_worker_that_was_taken_for_dead_enters_again_and_keeps_what_was_not_rescued(
    world: World,
) -> None:
    await world.tasks(await world.articles(3))
    scope = await world.worker()
    tasks = await world.claim(scope)
    await world.die(scope)
    assert len(await world.rescue(limit=1)) == 1
    beat = await fleet.beat(
        world.pool, scope.worker, state="running", note="", in_hand=3, succeeded=0, failed=0
    )
    assert not beat.known
    await fleet.enter(world.pool, scope, HostIdentity("here", 1, ""), {})
    assert await world.rescue() == []
    assert Counter(await world.complete(scope, *tasks)) == {"stored": 2, "lost": 1}


async def test_a_claim_made_while_a_rescue_waits_comes_before_it_in_the_audit_log(world: World) -> None:
    silent, dead = await world.worker(), await world.worker()
    await world.die(silent)
    await world.psql.execute("UPDATE embedq_workers SET state = 'dead' WHERE id = $1", dead.worker)
    task = await world.task(await world.article())
    async with world.psql.transaction():
        await world.psql.execute("SELECT FROM embedq_workers WHERE id = $1 FOR UPDATE", silent.worker)
        rescuing = asyncio.create_task(world.rescue())
        await waiters(world, 1)
        assert await world.rescue() == []  # it leaves it to the one that waits
        await world.claim_one(dead)
    assert len(await rescuing) == 1
    rows = await world.psql.fetch(
        "SELECT message FROM embedding_audit_logs WHERE task_id = $1 ORDER BY timestamp, id", task
    )
    assert [row["message"] for row in rows] == ["Task claimed", "Stuck task back in the queue"]


async def test_a_foreign_claim_comes_back_by_its_age_alone_and_is_charged(world: World) -> None:
    young, old, unstamped, new_unstamped, ended, *pending = await world.tasks(
        await world.articles(6), made_s=-3600
    )
    await world.psql.execute(
        """UPDATE embedding_tasks SET status = 'processing', processed_at =
               CASE id WHEN $1 THEN now() - interval '29 minutes'
                       WHEN $2 THEN now() - interval '31 minutes' END""",
        young,
        old,
    )
    await world.psql.execute("UPDATE embedding_tasks SET created_at = now() WHERE id = $1", new_unstamped)
    await world.psql.execute(
        """UPDATE embedding_tasks SET status = CASE id WHEN $1 THEN 'completed' ELSE 'pending' END
           WHERE id = ANY ($2)""",
        ended,
        [ended, *pending],
    )
    rescued = await world.rescue()
    assert {item.task_id for item in rescued} == {old, unstamped}
    assert {item.reason for item in rescued} == {"claim too old"}
    assert [(await world.row(task))["attempts"] for task in (young, old, unstamped)] == [0, 1, 1]
    assert {await world.status(task) for task in (young, new_unstamped)} == {"processing"}


@pytest.mark.parametrize("max_attempts", [0, 1, 3])
async def test_a_task_that_stays_in_foreign_hands_again_and_again_fails_when_its_attempts_are_used_up(
    world: World, max_attempts: int
) -> None:
    task = await world.task(await world.article(), max_attempts=max_attempts)
    outcomes = []
    while await world.status(task) == "pending":
        await world.psql.execute(
            "UPDATE embedding_tasks SET status = 'processing', processed_at = now() - interval '31 minutes'"
        )
        outcomes += [rescued.outcome for rescued in await world.rescue()]
    assert outcomes == ["requeued"] * (max_attempts - 1) + ["failed"]
    row = await world.row(task)
    assert (row["attempts"], row["completed_at"] > row["processed_at"]) == (len(outcomes), True)


async def test_our_own_claim_comes_back_when_it_is_too_old_although_its_worker_lives(world: World) -> None:
    """Uncharged: after a machine was suspended, or a clock set ahead, all that is in hand seems too old."""
    task = await world.task(await world.article(), max_attempts=1)
    scope = await world.worker()
    for outcome, charged in (("requeued", 0), ("failed", 1)):  # one that hangs its workers ends
        held = await world.claim_one(scope)
        await world.psql.execute(
            """UPDATE embedding_tasks SET processed_at = processed_at - interval '1 hour',
                                          claimed_at = claimed_at - interval '1 hour'"""
        )
        (rescued,) = await world.rescue()
        assert (rescued.outcome, rescued.reason) == (outcome, "claim too old")
        assert (await world.row(task))["attempts"] == charged
        assert await world.complete(scope, held) == ["lost"]


async def test_a_foreign_worker_that_took_over_our_dead_claim_is_disturbed_by_age_alone(world: World) -> None:
    (task,) = await held_by_the_dead(world, 1)
    await world.psql.execute("UPDATE embedding_tasks SET processed_at = now()")
    assert await world.rescue() == []
    assert await world.status(task) == "processing"
    await world.psql.execute("UPDATE embedding_tasks SET processed_at = now() - interval '31 minutes'")
    assert [(rescued.outcome, rescued.reason) for rescued in await world.rescue()] == [
        ("requeued", "claim too old")
    ]
    row = await world.row(task)
    assert (row["attempts"], row["crash_count"]) == (1, None)


async def test_a_task_that_kills_its_workers_ends_and_its_companions_do_not(world: World) -> None:
    """Each worker has two batches in hand when the killer kills it."""
    killer, *others = await world.tasks(await world.articles(8))
    killed = 0
    while await world.psql.fetchval("SELECT count(*) FROM embedding_tasks WHERE status = 'pending'"):
        scope = await world.worker()
        batches = [await world.claim(scope, 3) for _ in range(2)]
        tasks = [task for batch in batches for task in batch]
        if killer in {task.id for task in tasks}:
            killed += 1
            await world.die(scope)
            await world.rescue()
        else:
            await world.complete(scope, *tasks)
        assert killed < 10
    assert killed == 3
    row = await world.row(killer)
    assert (row["status"], row["attempts"]) == ("failed", 1)
    assert row["completed_at"] >= row["processed_at"]
    assert await world.audited(killer) == 2 * killed
    rescues = """SELECT level FROM embedding_audit_logs WHERE task_id = $1 AND category = 'error_handling'
                 ORDER BY timestamp"""
    assert [row["level"] for row in await world.psql.fetch(rescues, killer)] == ["warn", "warn", "error"]
    assert {await world.status(task) for task in others} == {"completed"}


async def test_many_rescuers_take_each_task_back_once_and_wait_for_nobody(world: World) -> None:
    tasks = await held_by_the_dead(world, 40)

    async def rescuer() -> list[UUID]:
        found: list[UUID] = []
        for _ in range(12):
            found += [item.task_id for item in await world.rescue(limit=7)]
        return found

    rescued = [task for found in await asyncio.gather(*(rescuer() for _ in range(6))) for task in found]
    while more := await world.rescue():  # who comes while another is at it leaves it to the other
        rescued += [item.task_id for item in more]
    assert sorted(rescued) == sorted(tasks)
    assert {(await world.row(task))["crash_count"] for task in tasks} == {1}


async def test_a_task_that_an_operator_has_locked_is_rescued_later(world: World) -> None:
    first, second = await held_by_the_dead(world, 2)
    timeless = await world.task(await world.article())
    await world.psql.execute("ALTER TABLE embedding_tasks ALTER scheduled_at DROP NOT NULL")
    await world.psql.execute("UPDATE embedding_tasks SET scheduled_at = NULL WHERE id = $1", timeless)
    session = await world.database.connect()
    async with session.transaction():
        await session.execute("SELECT FROM embedding_tasks WHERE id = ANY ($1) FOR UPDATE", [first, timeless])
        assert [item.task_id for item in await world.rescue()] == [second]
    assert [item.task_id for item in await world.rescue()] == [first]


async def test_a_worker_disowns_what_it_never_heard_of(world: World) -> None:
    known, unknown, foreign, done = await world.tasks(await world.articles(4))
    scope = await world.worker()
    held = await world.claim(scope)
    assert await world.complete(scope, *(task for task in held if task.id == done)) == ["stored"]
    of_another = await world.task(await world.article())
    await world.claim(await world.worker())
    await world.psql.execute("UPDATE embedding_tasks SET processed_at = now() WHERE id = $1", foreign)
    assert await fleet.disown(world.pool, scope.worker, [known], older_s=30) == 0
    await world.psql.execute(
        """UPDATE embedding_tasks SET claimed_at = claimed_at - interval '31 s',
                                      processed_at = processed_at - interval '31 s'"""
    )
    session = await world.database.connect()
    async with session.transaction():
        await session.execute("SELECT FROM embedding_tasks WHERE id = $1 FOR UPDATE", unknown)
        assert await fleet.disown(world.pool, scope.worker, [known], older_s=30) == 0
    audited = await world.audited(unknown)
    assert await fleet.disown(world.pool, scope.worker, [known], older_s=30) == 1
    row = await world.row(unknown)
    assert (row["status"], row["processed_at"], row["attempts"], row["crash_count"]) == (
        "pending",
        None,
        0,
        None,
    )
    assert await world.audited(unknown) == audited + 1
    assert [await world.status(task) for task in (known, foreign, of_another)] == ["processing"] * 3
    assert await world.status(done) == "completed"


async def test_all_of_it_comes_back_however_much_there_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "RESCUE_LIMIT", 2)
    tasks = await held_by_the_dead(world, 5)
    await world.psql.execute("UPDATE embedq_workers SET heartbeat_at = now() - interval '1 hour'")
    log = open_log("text", "error", io.StringIO())
    await maintenance.rescue_all(world.pool, world.database.settings, log)
    assert [await world.status(task) for task in tasks] == ["pending"] * 5


async def test_who_could_not_reach_the_database_either_gets_time_to_beat_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "RESCUE_EVERY_S", 0.05)
    (task,) = await held_by_the_dead(world, 1)
    async with TcpProxy(world.database.url) as proxy:
        settings = world.database.settings.model_copy(
            update={"database_url": SecretStr(proxy.url), "heartbeat_interval_ms": 1_500}
        )
        async with open_pool(settings, "embedq-test", size=1) as pool:
            proxy.refuses = True
            proxy.cut()
            worker = uuid4()
            chores = maintenance.Maintenance(
                pool,
                settings,
                worker,
                list,
                WorkerMetrics(worker, 1),
                open_log("text", "error", io.StringIO()),
            )
            async with beside(chores.run()):
                await until(lambda: proxy.refused > 1)
                assert await world.status(task) == "processing"
                back = monotonic()
                proxy.refuses = False
                await until_true(
                    world.psql, "SELECT status = 'pending' FROM embedding_tasks WHERE id = $1", task
                )
    assert monotonic() - back > settings.dead_after_s / 2
