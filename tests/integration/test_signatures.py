"""Who did something stands in the audit log in one way, whatever it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from embedq_worker.actions import article_trigger, backfill, bulk, orders, probing
from embedq_worker.actions.orders import Order
from embedq_worker.actions.requeue import queue_articles
from embedq_worker.actions.tasks import CANCEL, Run, carry_out, plan
from embedq_worker.content.articles import ImportOptions, store_articles
from embedq_worker.content.importing import ArticleDraft
from embedq_worker.providers.base import ProviderMisconfigured
from embedq_worker.queue import breaker, operator_log
from embedq_worker.queue.wanted import TaskFilter
from tests.support.backfilling import OPTIONS
from tests.support.queue_world import PROVIDER, World

BY = "ann@work@ops.example"


async def import_one(world: World, by: str) -> None:
    options = ImportOptions(by, max_attempts=3)
    draft = ArticleDraft("one", "One", "Text.", None, None, None, source="one.md")
    async for _ in store_articles(world.psql, [draft], options):
        pass


async def command_all(world: World, by: str) -> None:
    for order in Order:
        await orders.command(world.psql, order, by)


async def order_one(world: World, by: str) -> None:
    scope = await world.worker()
    await orders.set_concurrency(world.psql, scope.worker, 2, by)
    await orders.stop_worker(world.psql, scope.worker, force=False, by=by)


async def backfill_and_back(world: World, by: str) -> None:
    await world.article()
    run = await backfill.run(world.psql, OPTIONS, by=by, planned=1)
    await bulk.rollback(world.psql, run.operation_id, by=by)


async def cancel_one(world: World, by: str) -> None:
    await world.task(await world.article())
    await carry_out(Run(world.psql, await plan(world.psql, CANCEL, TaskFilter(since=timedelta(hours=1))), by))


async def probe_one(world: World, by: str) -> None:
    await breaker.failed(world.pool, PROVIDER, ProviderMisconfigured("no such model", "pull it"), probe=False)
    await probing.probe(world.psql, PROVIDER, by, dead_s=45, within_s=0)


async def queue_one(world: World, by: str) -> None:
    await queue_articles(world.psql, [await world.article()], by=by, max_attempts=3)


async def install_trigger(world: World, by: str) -> None:
    await article_trigger.install(world.psql, max_attempts=3, by=by)


async def remove_trigger(world: World, by: str) -> None:
    await article_trigger.install(world.psql, max_attempts=3)
    await article_trigger.remove(world.psql, by=by)


async def note(world: World, by: str) -> None:
    await operator_log.note(world.psql, "cleanup", by)


@pytest.mark.parametrize(
    "act",
    [
        import_one,
        command_all,
        order_one,
        backfill_and_back,
        cancel_one,
        probe_one,
        queue_one,
        install_trigger,
        remove_trigger,
        note,
    ],
)
@pytest.mark.parametrize(("by", "who"), [(BY, ("ann@work", "ops.example")), ("ann", ("ann", ""))])
async def test_operator_and_host_stand_apart(
    world: World, act: Callable[[World, str], Coroutine[Any, Any, None]], by: str, who: tuple[str, str]
) -> None:
    await act(world, by)
    rows = await world.psql.fetch(
        "SELECT metadata FROM embedding_audit_logs WHERE message ~ '^(Operator|Backfill|Bulk|Articles)'"
    )
    assert rows
    documents = [json.loads(row["metadata"]) for row in rows]
    assert {(one["operator"], one["host"]) for one in documents} == {who}
