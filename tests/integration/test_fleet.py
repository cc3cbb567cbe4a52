"""Workers as rows: what they say of themselves, and what the row of the fleet says of all."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from embedq_worker.actions import orders
from embedq_worker.actions.orders import Order
from embedq_worker.insights.overview import Liveness, overview
from embedq_worker.process.host import HostIdentity, this_host
from embedq_worker.queue import fleet
from embedq_worker.queue.claims import Scope
from tests.support.queue_world import World, beat, waiters

RUNNING = "SELECT is_running FROM embedding_worker_status"


async def test_workers_of_this_host_whose_processes_are_gone_are_dead_at_once(world: World) -> None:
    here = HostIdentity("here", os.getpid(), "this host")
    pids = [os.getpid(), 2**22 - 1]
    for key in ("this host", "another"):
        for pid in pids:
            scope = await world.worker()
            await world.psql.execute(
                "UPDATE embedq_workers SET pid = $2, host_key = $3 WHERE id = $1", scope.worker, pid, key
            )
    await fleet.declare_local_dead(world.pool, here)
    dead = await world.psql.fetch("SELECT pid, host_key FROM embedq_workers WHERE state = 'dead'")
    assert [tuple(row) for row in dead] == [(pids[1], "this host")]


async def test_a_heartbeat_shows_that_the_worker_and_the_fleet_are_alive(world: World) -> None:
    scope = await world.worker()
    await world.die(scope)
    await world.psql.execute("UPDATE embedding_worker_status SET last_heartbeat = now() - interval '1 hour'")
    await fleet.beat(world.pool, scope.worker, state="running", note="idle", in_hand=0, succeeded=0, failed=0)
    seen = await overview(world.psql, world.database.settings)
    assert [(row.liveness, row.note) for row in seen.workers] == [(Liveness.ALIVE, "idle")]
    assert seen.fleet is not None
    assert seen.fleet.last_heartbeat is not None
    assert seen.at - seen.fleet.last_heartbeat < timedelta(minutes=1)
    assert await world.rescue() == []
    assert (await beat(world, scope)).known


async def test_the_last_of_ours_leaves_another_programs_worker_running(world: World) -> None:
    foreign = "UPDATE embedding_worker_status SET last_heartbeat = now(), is_running = $1"
    for ends in (fleet.leave, lambda pool, worker, why: fleet.declare_dead(pool, [worker], why)):
        scope = await world.worker()
        await world.psql.execute(foreign, True)
        await beat(world, scope)
        await ends(world.pool, scope.worker, "drained")
        assert await world.psql.fetchval(RUNNING)
        await orders.command(world.psql, Order.START, "ann")
        assert await world.psql.fetchval(RUNNING)
    scope = await world.worker()
    await world.psql.execute(foreign, False)  # it ends
    await beat(world, scope)
    assert await world.psql.fetchval(RUNNING)
    await fleet.leave(world.pool, scope.worker, "drained")
    assert not await world.psql.fetchval(RUNNING)
    scope = await world.worker()
    await world.psql.execute(foreign, True)  # and this one dies
    await world.psql.execute("UPDATE embedq_control SET foreign_beat_at = now() - interval '3 minutes'")
    await fleet.leave(world.pool, scope.worker, "drained")
    assert not await world.psql.fetchval(RUNNING)


async def test_a_start_in_psql_is_not_taken_for_another_programs_worker(world: World) -> None:
    scope = await world.worker()
    await world.psql.execute("UPDATE embedding_worker_status SET is_running = true")
    await fleet.leave(world.pool, scope.worker, "drained")
    assert not await world.psql.fetchval(RUNNING)


async def test_the_last_of_many_that_leave_at_once_takes_the_fleet_down(world: World) -> None:
    for _ in range(5):
        scopes = [await world.worker() for _ in range(8)]
        assert await world.psql.fetchval("SELECT is_running FROM embedding_worker_status")
        await asyncio.gather(*(fleet.leave(world.pool, scope.worker, "drained") for scope in scopes))
        assert not await world.psql.fetchval("SELECT is_running FROM embedding_worker_status")
    assert await world.psql.fetchval("SELECT stopped_at IS NULL FROM embedq_control")


async def test_the_death_of_the_last_takes_the_fleet_down_and_is_no_order(world: World) -> None:
    scopes = [await world.worker() for _ in range(3)]
    await fleet.declare_dead(world.psql, [scopes[0].worker], "no answer")
    assert await world.psql.fetchval(RUNNING)
    await fleet.declare_dead(world.psql, [scope.worker for scope in scopes], "no answer")
    assert not await world.psql.fetchval(RUNNING)
    assert (await overview(world.psql, world.database.settings)).running is False
    assert await world.psql.fetchval("SELECT stopped_at FROM embedq_control") is None
    assert (await beat(world, await world.worker())).block == ""
    assert await world.psql.fetchval(RUNNING)


async def test_orders_beats_and_statements_do_not_lock_each_other_out(world: World) -> None:
    scopes = [await world.worker() for _ in range(3)]

    async def command() -> None:
        session = await world.database.connect()
        for number in range(40):
            await orders.command(session, list(orders.Order)[number % 4], "me@here")
        await session.close()

    async def psql() -> None:
        session = await world.database.connect()
        for number in range(40):
            await session.execute(f"UPDATE embedding_worker_status SET is_running = {number % 2 == 0}")
        await session.close()

    async def work(scope: Scope) -> None:
        for done in range(1, 21):
            await beat(world, scope, succeeded=done, failed=done)

    async with asyncio.timeout(20):
        await asyncio.gather(command(), command(), psql(), psql(), *(work(scope) for scope in scopes))
    row = await world.psql.fetchrow("SELECT * FROM embedding_worker_status")
    assert row is not None
    assert (row["tasks_processed"], row["tasks_succeeded"], row["tasks_failed"]) == (120, 60, 60)


async def enter(world: World, _: Scope) -> Scope:
    return await world.worker()


@pytest.mark.parametrize("say", [beat, enter])
async def test_no_worker_takes_back_what_an_operator_says_meanwhile(
    world: World, say: Callable[[World, Scope], Coroutine[None, None, object]]
) -> None:
    scope = await world.worker()
    async with world.psql.transaction():
        await world.psql.execute("UPDATE embedding_worker_status SET is_running = false")
        saying = asyncio.create_task(say(world, scope))
        await waiters(world, 1)
    await saying
    assert await world.psql.fetchval("SELECT is_running FROM embedding_worker_status") is False
    assert (await beat(world, scope)).block == "stopped"


@pytest.mark.parametrize("statement", ["DELETE FROM", "TRUNCATE"])
async def test_the_row_of_the_fleet_comes_back_with_a_beat(world: World, statement: str) -> None:
    scope = await world.worker()
    await world.psql.execute(f"{statement} embedding_worker_status")
    await beat(world, scope)
    assert await world.psql.execute("UPDATE embedding_worker_status SET is_running = false") == "UPDATE 1"
    assert (await beat(world, scope)).block == "stopped"


async def test_the_counters_of_the_fleet_stop_at_their_end(world: World) -> None:
    scope = await world.worker()
    counters = "tasks_processed", "tasks_succeeded", "tasks_failed"
    for counter in counters:  # a program whose own table it is may leave one empty
        await world.psql.execute(f"ALTER TABLE embedding_worker_status ALTER {counter} DROP NOT NULL")
    for before, done, after in ((None, 18, (36, 18, 18)), (2147483640, 36, (2147483647,) * 3)):
        for counter in counters:
            await world.psql.execute(f"UPDATE embedding_worker_status SET {counter} = $1", before)
        await beat(world, scope, succeeded=done, failed=done)
        row = await world.psql.fetchrow(f"SELECT {', '.join(counters)} FROM embedding_worker_status")
        assert tuple(row or ()) == after


async def test_a_worker_alone_is_asked_to_end(world: World) -> None:
    scope, other = await world.worker(), await world.worker()
    await world.psql.execute("UPDATE embedq_workers SET stop_requested = 'force' WHERE id = $1", scope.worker)
    assert [(await beat(world, one)).stop_asked for one in (scope, other)] == ["force", ""]


async def test_who_signed_off_is_not_declared_dead(world: World) -> None:
    gone, alive = await world.worker(), await world.worker()
    await fleet.leave(world.pool, gone.worker, "done")
    await fleet.declare_dead(world.psql, [gone.worker, alive.worker], "no answer")
    rows = await world.psql.fetch("SELECT id, state FROM embedq_workers")
    assert {row["id"]: row["state"] for row in rows} == {gone.worker: "stopped", alive.worker: "dead"}


async def test_one_that_is_stopping_still_runs_the_fleet(world: World) -> None:
    first, last = await world.worker(), await world.worker()
    await beat(world, last, state="stopping")
    await fleet.leave(world.pool, first.worker, "done")
    assert await world.psql.fetchval(RUNNING)
    await fleet.leave(world.pool, last.worker, "done")
    assert not await world.psql.fetchval(RUNNING)


async def test_the_fleet_runs_again_with_the_next_beat_after_another_programs_worker_ended(
    world: World,
) -> None:
    scope = await world.worker()
    await world.psql.execute("UPDATE embedding_worker_status SET is_running = false, last_heartbeat = now()")
    await beat(world, scope)
    assert await world.psql.fetchval(RUNNING)


async def test_what_was_done_is_added_up_once_although_the_row_of_the_fleet_was_locked(world: World) -> None:
    scope = await world.worker()
    async with world.psql.transaction():
        await world.psql.execute("SELECT FROM embedding_worker_status FOR UPDATE")
        assert (await beat(world, scope)).known
    assert await sums(world) == {(0, 0, 0)}
    for _ in range(2):  # as after an answer that was lost
        await beat(world, scope)
    assert await sums(world) == {(1, 1, 0)}


async def test_a_heartbeat_that_comes_late_takes_nothing_back(world: World) -> None:
    scope = await world.worker()
    for succeeded, failed, found in ((5, 2, (7, 5, 2)), (3, 1, (7, 5, 2)), (6, 2, (8, 6, 2))):
        await beat(world, scope, succeeded=succeeded, failed=failed)
        assert await sums(world) == {found}


async def sums(world: World) -> set[tuple[int, ...]]:
    """What one worker has done, by its own row and by that of the fleet: one result if they agree."""
    rows = await world.psql.fetch(
        """SELECT processed, succeeded, failed FROM embedq_workers
           UNION ALL SELECT tasks_processed, tasks_succeeded, tasks_failed FROM embedding_worker_status"""
    )
    return {tuple(row) for row in rows}


async def test_a_worker_whose_row_was_deleted_enters_again_and_is_counted_once(world: World) -> None:
    scope = await world.worker()
    await beat(world, scope)
    await world.psql.execute("DELETE FROM embedq_workers")
    assert not (await beat(world, scope)).known
    await fleet.enter(world.pool, scope, HostIdentity("here", 1, ""), {}, succeeded=1)
    await beat(world, scope)
    assert await sums(world) == {(1, 1, 0)}


async def test_who_was_declared_dead_counts_only_after_entering_again(world: World) -> None:
    scope = await world.worker()
    await fleet.declare_dead(world.psql, [scope.worker], "no answer")
    assert not (await beat(world, scope)).known
    look = "SELECT state, processed, stopped_at IS NULL, note FROM embedq_workers"
    assert tuple(await world.psql.fetchrow(look) or ()) == ("dead", 0, False, "no answer")
    assert await sums(world) == {(0, 0, 0)}
    await world.psql.execute("UPDATE embedq_workers SET heartbeat_at = now() - interval '1 hour'")
    await fleet.enter(world.pool, scope, HostIdentity("here", 1, ""), {}, succeeded=1)
    assert tuple(await world.psql.fetchrow(look) or ()) == ("running", 0, True, "")
    assert await world.psql.fetchval("SELECT heartbeat_at > now() - interval '1 min' FROM embedq_workers")
    assert (await beat(world, scope)).known
    assert await sums(world) == {(1, 1, 0)}


async def test_a_worker_enters_whatever_the_name_of_its_machine(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "w\udcf6rk\x1b[31m-7")
    scope = replace(await world.worker(), worker=uuid4())
    await fleet.enter(world.pool, scope, this_host(), {})
    names = await world.psql.fetch("SELECT host FROM embedq_workers WHERE host LIKE '%-7'")
    assert [row["host"].isprintable() for row in names] == [True]


async def test_who_enters_and_who_leaves_is_told(world: World) -> None:
    heard: list[object] = []
    session = await world.database.connect()
    await session.add_listener("embedq_changes", lambda *args: heard.append(args[-1]))
    scope = await world.worker()
    await session.execute("SELECT 1")
    assert heard == ["workers"]
    await fleet.leave(world.pool, scope.worker, "done")
    await session.execute("SELECT 1")
    assert heard == ["workers"] * 2


async def test_a_concurrency_that_changed_is_shown_and_told_once(world: World) -> None:
    heard: list[object] = []
    scope, other = await world.worker(), await world.worker()
    session = await world.database.connect()
    await session.add_listener("embedq_changes", lambda *args: heard.append(args[-1]))
    for concurrency in (None, 4, 4):
        await beat(world, scope, concurrency=concurrency)
    rows = await world.psql.fetch("SELECT id, settings FROM embedq_workers")
    shown = {row["id"]: json.loads(row["settings"])["concurrency"] for row in rows}
    await session.execute("SELECT 1")
    assert (shown, heard) == ({scope.worker: 4, other.worker: 1}, ["workers"])


# -- what remains


@pytest.mark.parametrize(
    ("priorities", "folders", "within_s", "found"),
    [
        (None, None, 0, (True, 300)),
        (None, ("docs",), 0, (True, 500)),
        (None, ("news",), 0, (False, 300)),
        (None, ("news",), 310, (True, 300)),
        (("low",), None, 0, (False, 300)),
        (("low",), ("docs",), 0, (False, 600)),
        (("normal",), None, 1_000, (False, None)),
    ],
)
async def test_what_remains_for_a_worker_is_what_it_may_claim(
    world: World,
    priorities: tuple[str, ...] | None,
    folders: tuple[str, ...] | None,
    within_s: float,
    found: tuple[bool, float | None],
) -> None:
    for folder, priority, due_s in (
        ("docs/api", "high", -60),
        ("docs", "high", 500),
        ("docs", "low", 600),
        ("news", "low", 300),
    ):
        await world.task(await world.article(folder=folder), priority=priority, due_s=due_s)
    scope = await world.worker(priorities=priorities, folders=folders)
    seen = await fleet.outlook(world.pool, scope, within_s=within_s)
    assert (seen.more, seen.next_s and round(seen.next_s, -2)) == found
