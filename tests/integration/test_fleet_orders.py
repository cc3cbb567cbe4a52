"""What operators order: whom it reaches, how long it stands, and how a worker learns it with a heartbeat."""

from __future__ import annotations

from embedq_worker.actions import orders
from embedq_worker.actions.orders import Order
from embedq_worker.insights.overview import overview
from embedq_worker.queue import fleet
from tests.support.queue_world import World, beat

RUNNING = "SELECT is_running FROM embedding_worker_status"
ASKED = "SELECT stop_requested FROM embedq_workers WHERE id = $1"


async def test_a_beat_tells_which_order_is_in_force_and_whose(world: World) -> None:
    scope = await world.worker()
    for order, by, found in (
        (Order.PAUSE, "bob@ops", ("paused", "bob@ops")),
        (Order.STOP, "ann@ops", ("stopped", "ann@ops")),
        (Order.START, "eve@ops", ("paused", "bob@ops")),
        (Order.RESUME, "eve@ops", ("", "")),
    ):
        await orders.command(world.psql, order, by)
        heard = await beat(world, scope)
        assert (heard.block, heard.block_by) == found
        assert (heard.block_since is not None) is bool(heard.block)


async def test_an_order_in_psql_is_signed_by_its_role_until_it_is_lifted(world: World) -> None:
    scope = await world.worker()
    role = await world.psql.fetchval("SELECT session_user")
    await world.psql.execute("UPDATE embedding_worker_status SET is_running = false")
    heard = await beat(world, scope)
    assert (heard.block, heard.block_by, heard.block_since is None) == ("stopped", f"{role} (SQL)", False)
    await world.psql.execute("UPDATE embedding_worker_status SET is_running = true")
    assert (await beat(world, scope)).block == ""
    control = (await overview(world.psql, world.database.settings)).control
    assert (control.stopped_at, control.stopped_by) == (None, None)


async def test_a_stop_stands_for_who_enters_later_and_a_start_runs_nobody(world: World) -> None:
    await orders.command(world.psql, Order.STOP, "ann@ops")
    scope = await world.worker()
    assert not await world.psql.fetchval(RUNNING)
    await orders.command(world.psql, Order.START, "ann@ops")
    assert await world.psql.fetchval(RUNNING)
    await fleet.leave(world.pool, scope.worker, "done")
    await orders.command(world.psql, Order.START, "ann@ops")
    assert not await world.psql.fetchval(RUNNING)


async def test_a_pause_asks_nobody_to_end(world: World) -> None:
    scope = await world.worker()
    for order in (Order.PAUSE, Order.RESUME):
        assert await orders.command(world.psql, order, "ann@ops") == []
        assert await world.psql.fetchval(ASKED, scope.worker) is None
        assert await world.psql.fetchval(RUNNING)


async def test_stops_reach_who_is_stopping_but_not_who_is_gone_and_are_not_weakened(world: World) -> None:
    running, stopping, gone, dead = [await world.worker() for _ in range(4)]
    await beat(world, stopping, state="stopping")
    await fleet.leave(world.pool, gone.worker, "done")
    await fleet.declare_dead(world.psql, [dead.worker], "no answer")
    both = {running.worker, stopping.worker}
    for order, asked in ((Order.STOP, "graceful"), (Order.STOP_NOW, "force"), (Order.STOP, "force")):
        assert set(await orders.command(world.psql, order, "ann@ops")) == both
        assert {await world.psql.fetchval(ASKED, worker) for worker in both} == {asked}


async def test_a_worker_paused_alone_stays_so_until_a_resume(world: World) -> None:
    scope, other = await world.worker(), await world.worker()
    assert await orders.pause_worker(world.psql, scope.worker, pause=True, by="bob@ops")
    for order in (Order.STOP, Order.START):
        await orders.command(world.psql, order, "ann@ops")
    heard = await beat(world, scope)
    assert (heard.block, heard.block_by, (await beat(world, other)).block) == ("paused", "bob@ops", "")
    await orders.command(world.psql, Order.RESUME, "ann@ops")
    assert (await beat(world, scope)).block == ""


async def test_a_start_spares_who_has_not_begun_to_end(world: World) -> None:
    running, stopping, forced = [await world.worker() for _ in range(3)]
    await orders.command(world.psql, Order.STOP, "ann@ops")
    assert await orders.stop_worker(world.psql, forced.worker, force=True, by="ann@ops")
    await beat(world, stopping, state="stopping")
    await orders.command(world.psql, Order.START, "ann@ops")
    asked = [await world.psql.fetchval(ASKED, scope.worker) for scope in (running, stopping, forced)]
    assert asked == [None, "graceful", "force"]


async def test_orders_to_one_worker_keep_each_other(world: World) -> None:
    scope, other = await world.worker(), await world.worker()

    async def told() -> tuple[str, int | None]:
        heard = await beat(world, scope)
        return heard.stop_asked, heard.concurrency

    assert await orders.set_concurrency(world.psql, scope.worker, 4, "ann@ops")
    assert await told() == ("", 4)
    for force, asked in ((False, "graceful"), (True, "force"), (False, "force")):
        assert await orders.stop_worker(world.psql, scope.worker, force=force, by="ann@ops")
        assert await told() == (asked, 4)
    assert await orders.set_concurrency(world.psql, scope.worker, 2, "ann@ops")
    assert await told() == ("force", 2)
    await beat(world, scope, state="stopping")
    assert not await orders.set_concurrency(world.psql, scope.worker, 1, "ann@ops")
    assert await orders.stop_worker(world.psql, scope.worker, force=True, by="ann@ops")
    await fleet.leave(world.pool, scope.worker, "done")
    assert not await orders.stop_worker(world.psql, scope.worker, force=True, by="ann@ops")
    assert (await beat(world, other)).stop_asked == ""
