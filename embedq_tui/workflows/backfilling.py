"""Planning a backfill: what would be queued and why. Shared by the command and the console."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from embedq_tui.filters.article_filter import matching
from embedq_tui.rendering.words import count
from embedq_worker.actions import backfill
from embedq_worker.actions.backfill import BackfillOptions, BackfillPlan, CategoryCount
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.overview import overview
from embedq_worker.providers.factory import open_provider
from embedq_worker.queue.words import parts_of
from embedq_worker.schema.needs import Category
from embedq_worker.schema.state import require_current
from embedq_worker.schema.task_values import Priority

WORDS: Mapping[Category, str] = {
    Category.MISSING: "without embeddings",
    Category.FAILED: "whose last task failed",
    Category.STALE: "changed since they were embedded",
    Category.MODEL: "embedded with another model",
    Category.NO_RAG: "marked no_rag, embeddings to be removed",
}


@dataclass(frozen=True, slots=True)
class Planned:
    """What was counted, and what to queue of it.

    Attributes:
        plan: What was found.
        options: What to queue of it, and how.
        inputs: Texts per request to the provider.
        claimed: Tasks a worker claims at once.
        others: Models other than the planned one that live workers embed with.
    """

    plan: BackfillPlan
    options: BackfillOptions
    inputs: int
    claimed: int
    others: tuple[str, ...] = ()

    @property
    def wanted(self) -> CategoryCount:
        """What to queue."""
        return self.plan.of(self.options)

    @property
    def tasks(self) -> int:
        """How many tasks that is."""
        return self.wanted.to_queue

    @property
    def requests(self) -> int:
        """About how many requests to the provider that takes."""
        return backfill.estimate_requests(self.wanted, inputs=self.inputs, batch_size=self.claimed)

    def only(self, categories: frozenset[Category], priority: Priority) -> Planned:
        """The same plan, limited to some categories and with another priority."""
        return replace(self, options=replace(self.options, categories=categories, priority=priority))


@dataclass(frozen=True, slots=True)
class Target:
    """The model that embeddings should be made with.

    Attributes:
        model: Its name as stored with vectors.
        inputs: Texts per request.
    """

    model: str
    inputs: int


async def target_of(settings: Settings) -> Target:
    """Find the configured provider's model; nothing is sent to it.

    Raises:
        ProviderMisconfigured: The settings alone show that it cannot work.
    """
    provider = await asyncio.to_thread(open_provider, settings)  # its library is slow to import
    try:
        return Target(provider.model, provider.limits.inputs)
    finally:
        await provider.aclose()


async def plan_backfill(
    connection: Connection,
    settings: Settings,
    target: Target,
    options: BackfillOptions,
    progress: Callable[[int], None],
) -> Planned:
    """Count the articles that need embedding.

    Args:
        connection: To the database.
        settings: For the sizes of chunks and claims.
        target: The model to compare with.
        options: What to queue, and how.
        progress: Called with the number of articles examined.

    Raises:
        SchemaError: The database is not migrated.
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    await require_current(connection)
    words = settings.chunk_size - settings.chunk_overlap
    plan = await backfill.plan(connection, options, words_per_chunk=words, progress=progress)
    others = await _other_models(connection, settings, target.model)
    return Planned(plan, options, target.inputs, settings.batch_size, others)


async def _other_models(connection: Connection, settings: Settings, model: str) -> tuple[str, ...]:
    seen = await overview(connection, settings)
    models = {parts_of(key)[0] for key in seen.served}
    return tuple(sorted(models - {model}))


def plan_lines(planned: Planned) -> Iterator[str]:
    """Describe a plan, line by line."""
    scope = matching(planned.options.filter)
    among = f" ({scope})" if scope else ""
    yield f"{count(planned.plan.articles, 'article')}{among} compared with {planned.options.model}"
    for category, words in WORDS.items():
        if category in planned.options.categories:
            found = planned.plan.counts[category]
            waiting = f", {found.waiting:,} already queued" if found.waiting else ""
            yield f"  {category.replace('_', '-'):<8} {found.to_queue:>9,}  {words}{waiting}"
    wanted = planned.wanted
    if not wanted.to_queue:
        yield "Nothing to queue."
    else:
        yield (
            f"To queue: {count(wanted.to_queue, 'task')}, about {count(wanted.chunks, 'chunk')} "
            f"in {count(planned.requests, 'request')}"
        )
        if planned.others:
            yield (
                f"Warning: running workers embed with {' and '.join(planned.others)}: "
                f"restart them with {planned.options.model} first"
            )
