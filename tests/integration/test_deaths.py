"""Which workers died lately, and whether what they held was taken back."""

from __future__ import annotations

from embedq_worker.insights.deaths import deaths
from embedq_worker.insights.overview import overview
from embedq_worker.queue import fleet
from embedq_worker.queue.claims import Scope
from tests.support.queue_world import World

ENDED = """
INSERT INTO embedq_workers (id, host, pid, host_key, version, provider, state, stopped_at)
SELECT embedq_uuid(), 'h', n, 'k', '1', 'm e', CASE WHEN n % 2 = 0 THEN 'dead' ELSE 'stopped' END,
       now() - n * $2::text::interval
FROM generate_series(1, $1) n
"""


async def dead(world: World, *, count: int) -> Scope:
    """A worker that fell silent with so many tasks in hand, and had reported one less."""
    await world.tasks(await world.articles(count))
    scope = await world.worker()
    await world.claim(scope)
    await fleet.beat(
        world.pool, scope.worker, state="running", note="", in_hand=count - 1, succeeded=4, failed=1
    )
    await world.die(scope)
    return scope


async def test_a_dead_worker_is_told_of_with_what_it_held_until_all_is_taken_back(world: World) -> None:
    silent = await dead(world, count=3)
    assert await deaths(world.psql) == ()  # others may still hear of it
    assert len(await world.rescue(limit=1)) == 1
    (found,) = await deaths(world.psql)
    assert (found.id, found.in_hand, found.unreturned, found.succeeded) == (silent.worker, 3, 2, 4)
    assert found.heartbeat_at < found.died_at
    await world.rescue()
    (found,) = await deaths(world.psql)
    assert (found.in_hand, found.unreturned) == (3, 0)
    audited = await world.psql.fetch(
        "SELECT metadata ->> 'held' AS held FROM embedding_audit_logs WHERE message = 'Worker died'"
    )
    assert [row["held"] for row in audited] == ["3"]


async def test_a_claim_that_another_took_over_is_not_the_dead_ones(world: World) -> None:
    silent = await dead(world, count=1)
    await world.rescue()
    await world.claim(await world.worker())
    (found,) = await deaths(world.psql)
    assert (found.id, found.unreturned) == (silent.worker, 0)


async def test_a_claim_that_another_program_took_over_is_not_the_dead_ones_either(world: World) -> None:
    silent = await dead(world, count=2)
    await fleet.declare_dead(world.psql, [silent.worker], "no answer")
    await world.psql.execute(
        "UPDATE embedding_tasks SET processed_at = now() WHERE id = (SELECT id FROM embedding_tasks LIMIT 1)"
    )
    (found,) = await deaths(world.psql)
    assert (found.id, found.unreturned) == (silent.worker, 1)


async def test_one_that_enters_again_has_not_died(world: World) -> None:
    silent = await dead(world, count=1)
    await world.rescue()
    await world.psql.execute(
        "SELECT embedq_worker_start(id, host, pid, host_key, version, provider, settings) FROM embedq_workers"
        " WHERE id = $1",
        silent.worker,
    )
    assert await deaths(world.psql) == ()


async def test_those_of_a_day_the_latest_first_and_none_that_signed_off(world: World) -> None:
    await world.psql.execute(ENDED, 10, "5 h")
    assert [worker.pid for worker in await deaths(world.psql)] == [2, 4]


async def test_neither_the_living_nor_the_latest_deaths_cost_a_look_at_all_that_ended(world: World) -> None:
    await world.worker()
    await world.psql.execute("ANALYZE embedq_workers")  # of one
    await world.psql.execute(ENDED, 20_000, "2 s")
    for _ in range(2):
        async with world.psql.transaction(isolation="repeatable_read"):
            before = await read_of_workers(world)
            assert len(await deaths(world.psql)) == 50
            assert len((await overview(world.psql, world.database.settings)).workers) == 1
            assert await read_of_workers(world) - before < 200
        await world.psql.execute("ANALYZE embedq_workers")


async def read_of_workers(world: World) -> int:
    """Rows of workers read in this transaction so far."""
    read: int = await world.psql.fetchval(
        """SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables
           WHERE relname = 'embedq_workers'"""
    )
    return read
