"""A `Pipeline` assembled as in the worker, on a test database and the provider stub."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from embedq_worker.backoff import Backoff
from embedq_worker.database.connections import Pool, open_pool
from embedq_worker.database.kept import kept_connection
from embedq_worker.database.line_watch import LineWatch
from embedq_worker.process.host import HostIdentity
from embedq_worker.providers.factory import open_provider
from embedq_worker.queue import fleet
from embedq_worker.queue.claims import Scope
from embedq_worker.queue.words import key_of
from embedq_worker.schema.storage import inspect_storage
from embedq_worker.service.embedder import Embedder
from embedq_worker.service.pipeline import Pipeline, PipelineSettings
from embedq_worker.service.refusals import Refusals
from tests.support.databases import DIMENSIONS, Database
from tests.support.provider_stub import ProviderStub

AT_ONCE = Backoff(0.001, 0.001)
"""Hardly any delay."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A pipeline and what it uses.

    Attributes:
        pipeline: Under test.
        pool: Its pool.
        scope: Who it is.
        stub: Its provider.
    """

    pipeline: Pipeline
    pool: Pool
    scope: Scope
    stub: ProviderStub

    async def work(self, limit: int = 100) -> Counter[str]:
        """Claim once, and process the batch.

        Returns:
            Tasks by outcome.
        """
        return (await self.pipeline.run(await self.pipeline.claim(limit))).outcomes

    async def work_off(self, limit: int = 100, *, rounds: int = 200) -> Counter[str]:
        """Claim and process batches until no task is pending, whether due or not.

        Returns:
            Tasks by outcome, over all rounds.
        """
        total: Counter[str] = Counter()
        for _ in range(rounds):
            await self.pool.execute(
                """UPDATE embedding_tasks SET scheduled_at = now()
                   WHERE status = 'pending' AND scheduled_at > now()"""
            )
            tasks = await self.pipeline.claim(limit)
            if not tasks:
                return total
            total += (await self.pipeline.run(tasks)).outcomes
        raise AssertionError(f"no end after {rounds} rounds: {total}")


@asynccontextmanager
async def bench(
    database: Database,
    stub: ProviderStub,
    *,
    deadline_s: float = 30.0,
    patience_s: float = 60.0,
    concurrency: int = 2,
    backoff: Backoff = AT_ONCE,
    **values: Any,
) -> AsyncIterator[Bench]:
    """Create a pipeline that is registered as a worker.

    Args:
        database: Migrated.
        stub: Its provider, as an OpenAI-compatible server.
        deadline_s: Of a batch.
        patience_s: Seconds for which an embedded batch is kept while the database refuses it.
        concurrency: Requests in flight.
        backoff: Delay between the attempts of a task.
        values: Settings by field name.
    """
    settings = database.settings.model_copy(
        update={
            "provider": "openai",
            "openai_base_url": stub.openai_url,
            "model_name": "stub",
            "dimensions_wanted": DIMENSIONS,
            **values,
        }
    )
    provider = open_provider(settings)
    try:
        async with (
            open_pool(settings, "embedq-test", size=concurrency + 3) as pool,
            kept_connection(pool) as claimer,
        ):
            scope = Scope(uuid4(), key_of(provider), provider.model)
            async with pool.acquire() as connection:
                storage = await inspect_storage(connection)
            await fleet.enter(pool, scope, HostIdentity("here", 1, ""), {})
            pipeline = Pipeline(
                pool,
                claimer,
                scope,
                storage,
                Embedder(provider, concurrency=concurrency),
                Refusals(LineWatch(settings), lambda: None),
                PipelineSettings(
                    settings.chunk_size,
                    settings.chunk_overlap,
                    deadline_s,
                    patience_s,
                    backoff,
                ),
            )
            yield Bench(pipeline, pool, scope, stub)
    finally:
        await provider.aclose()
