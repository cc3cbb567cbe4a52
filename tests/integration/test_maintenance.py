"""What a worker does for the queue beside its tasks: each chore at its interval, unless switched off."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from embedq_worker.queue.claims import Scope
from embedq_worker.service import maintenance
from embedq_worker.service.logs import open_log
from embedq_worker.service.metrics import WorkerMetrics
from embedq_worker.waits import beside
from tests.support.content import until_true
from tests.support.queue_world import World
from tests.support.waiting import until

PENDING = "SELECT status = 'pending' FROM embedding_tasks WHERE id = $1"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for interval in ("RESCUE_EVERY_S", "FOLD_EVERY_S", "_FIRST_RETENTION_S"):
        monkeypatch.setattr(maintenance, interval, 0.01)


@asynccontextmanager
async def maintained(world: World, scope: Scope, **settings: Any) -> AsyncIterator[io.StringIO]:
    """A worker that has nothing in hand does its chores; its log."""
    changed = world.database.settings.model_copy(update={"metrics_interval_ms": 10, **settings})
    lines = io.StringIO()
    log = open_log("text", "warn", lines)
    metrics = WorkerMetrics(scope.worker, 1)
    chores = maintenance.Maintenance(world.pool, changed, scope.worker, list, metrics, log)
    async with beside(chores.run()):
        yield lines


async def test_every_chore_is_done(world: World) -> None:
    old, held = await world.task(await world.article()), await world.task(await world.article())
    await world.psql.execute(
        """UPDATE embedding_tasks SET status = 'completed', completed_at = now() - interval '1 year'
           WHERE id = $1""",
        old,
    )
    silent = await world.worker()
    await world.claim(silent)
    await world.die(silent)
    await world.psql.execute("INSERT INTO embedq_count_deltas (delta) VALUES (0)")  # asks for a recount
    async with maintained(world, await world.worker()):
        await until_true(world.psql, PENDING, held)
        await until_true(world.psql, "SELECT count(*) = 1 FROM embedding_tasks")
        await until_true(world.psql, "SELECT NOT EXISTS (SELECT FROM embedq_count_deltas)")
        await until_true(world.psql, "SELECT EXISTS (SELECT FROM performance_metrics)")


async def test_a_chore_that_the_database_refuses_keeps_no_other_from_being_done(world: World) -> None:
    held = await world.task(await world.article())
    silent = await world.worker()
    await world.claim(silent)
    await world.psql.execute("ALTER TABLE performance_metrics RENAME TO elsewhere")
    async with maintained(world, await world.worker()) as lines:
        await until(lambda: "sample" in lines.getvalue())
        await world.die(silent)
        await until_true(world.psql, PENDING, held)


async def test_where_taking_back_is_switched_off_what_the_dead_hold_stays_there(world: World) -> None:
    held = await world.task(await world.article())
    silent, scope = await world.worker(), await world.worker()
    await world.claim(silent)
    await world.die(silent)
    async with maintained(world, scope, stuck_cleanup_enabled=False):
        for _ in range(2):  # the second time, the first round is over
            unheard = await world.task(await world.article())
            await world.claim(scope)
            await world.psql.execute(
                "UPDATE embedding_tasks SET processed_at = t, claimed_at = t"
                " FROM (SELECT now() - interval '1 min') AS long_ago(t) WHERE id = $1",
                unheard,
            )
            await until_true(world.psql, PENDING, unheard)
            await world.psql.execute("DELETE FROM embedding_tasks WHERE id = $1", unheard)
    assert await world.status(held) == "processing"
