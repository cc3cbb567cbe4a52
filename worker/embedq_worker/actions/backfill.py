"""Find articles whose embeddings are missing, out of date or by another model, and queue them; page by page.

What is wrong is decided by sql/012_bulk (`embedq_backfill_page`) from articles, embeddings and tasks as they
are: whatever left the damage is repaired alike, and a run over what is right queues nothing. Nothing is
deleted before the new vectors are there. What became of a run: see `bulk`.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

import asyncpg

from embedq_worker.content.articles import Priority
from embedq_worker.database.connections import Connection
from embedq_worker.database.failures import EXPECTED_ERRORS
from embedq_worker.errors import EmbedqError
from embedq_worker.queue.operator_log import operator_and_host
from embedq_worker.schema.needs import Category

PAGE = 1_000
"""Articles looked at per round trip."""
SILENT_S = 30.0
"""A run that was not heard of for so long is taken for dead: another may go on with it."""
RESUME_WITHIN_S = 86_400.0
"""A run that ended early is continued within this time; later a new one is begun."""
BYTES_PER_WORD = 6


@dataclass(frozen=True, slots=True)
class BackfillOptions:
    """What is to be found and how it is queued.

    Attributes:
        model: Name stored with vectors, `Provider.model`.
        max_attempts: Of the tasks.
        categories: What is to be queued.
        priority: Of the tasks.
        batch_size: Articles looked at per transaction, and so tasks queued per transaction at most.
    """

    model: str
    max_attempts: int
    categories: frozenset[Category] = frozenset(Category)
    priority: Priority = "low"
    batch_size: int = PAGE

    @property
    def filter(self) -> dict[str, object]:
        """As kept with the operation: runs of one filter continue each other."""
        return {
            "model": self.model,
            "categories": sorted(self.categories),
            "priority": self.priority,
        }


@dataclass(slots=True)
class CategoryCount:
    """Articles of one category.

    Attributes:
        to_queue: Without an open task.
        waiting: With a task that is pending or in hand already.
        chunks: Estimated, of those to queue.
    """

    to_queue: int = 0
    waiting: int = 0
    chunks: int = 0


@dataclass(slots=True)
class Plan:
    """What a run would find.

    Attributes:
        articles: Looked at.
        counts: By category, all of them, wanted or not.
    """

    articles: int = 0
    counts: dict[Category, CategoryCount] = field(
        default_factory=lambda: {category: CategoryCount() for category in Category}
    )

    def of(self, options: BackfillOptions) -> CategoryCount:
        """Sum over the categories that are wanted."""
        wanted = [self.counts[category] for category in options.categories]
        return CategoryCount(
            sum(count.to_queue for count in wanted),
            sum(count.waiting for count in wanted),
            sum(count.chunks for count in wanted),
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        last_id: Of the last article looked at.
        articles: Looked at.
        queued: By this run.
        waiting: Found with an open task.
    """

    last_id: int
    articles: int
    queued: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Run:
    """How a run ended, or how far it is.

    Attributes:
        operation_id: What its tasks carry as ``bulkOperationId``.
        resumed: It went on with an operation that had been stopped.
        state: ``running``; ``done``; ``stopped`` as asked; ``rolled_back`` or ``taken over`` by somebody else
            meanwhile.
        progress: How far it came.
    """

    operation_id: UUID
    resumed: bool
    state: str
    progress: Progress


class BackfillBusy(EmbedqError):
    """Another backfill is running."""


_PLAN = """
SELECT category, count(*) AS articles, max(article_id) AS last_id,
       count(*) FILTER (WHERE waiting) AS waiting,
       coalesce(sum(greatest(1, ceil(bytes / $4::float)))
                FILTER (WHERE NOT waiting AND category <> 'no_rag'), 0) AS chunks
FROM embedq_backfill_page($1, $2, $3, NULL) GROUP BY category
"""
_STOP = """
UPDATE embedq_bulk_operations
SET state = 'stopped', updated_at = clock_timestamp(), finished_at = clock_timestamp()
WHERE id = $1 AND runner = $2 AND state = 'running'
"""


async def plan(
    connection: Connection,
    options: BackfillOptions,
    *,
    words_per_chunk: int,
    page: int = PAGE,
    progress: Callable[[int], None] = lambda articles: None,
) -> Plan:
    """Count what is wrong, in pages: memory and the cost of a page do not depend on the number of articles.

    Args:
        connection: To a migrated database.
        options: The model is compared with.
        words_per_chunk: New words per chunk, so size less overlap; for the estimate.
        page: Articles per round trip.
        progress: Told after each page how many articles were looked at.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    found = Plan()
    last_id = -(2**31)
    while True:
        rows = await connection.fetch(_PLAN, last_id, page, options.model, words_per_chunk * BYTES_PER_WORD)
        looked_at = sum(row["articles"] for row in rows)
        for row in rows:
            if row["category"] is not None:
                _count(found.counts[Category(row["category"])], row)
        found.articles += looked_at
        progress(found.articles)
        if looked_at < page:
            return found
        last_id = max(row["last_id"] for row in rows)


def estimate_requests(count: CategoryCount, *, inputs: int, batch_size: int) -> int:
    """Requests to the provider for what is to be queued, about; an upper bound where chunks are unchanged.

    Args:
        count: Of the plan.
        inputs: Texts per request, `Provider.limits`.
        batch_size: Tasks a worker claims together: a request carries the chunks of one batch.
    """
    return max(math.ceil(count.chunks / inputs), math.ceil(min(count.to_queue, count.chunks) / batch_size))


async def run(
    connection: Connection,
    options: BackfillOptions,
    *,
    by: str,
    planned: int,
    progress: Callable[[Run], None] = lambda so_far: None,
    stop: asyncio.Event | None = None,
) -> Run:
    """Queue what is wrong, a batch at a time, each one transaction with an audit row.

    An article with an open task is passed over. Stopped or killed at any point, it can be run again: what was
    queued is not queued twice, and the operation goes on if its filter is the same.

    Args:
        connection: To a migrated database; not in a transaction.
        options: What, and how.
        by: Who does it, as user@host.
        planned: Tasks expected, as `plan` counted; kept for `status`.
        progress: Told after each batch.
        stop: Set to end after the batch at hand.

    Raises:
        BackfillBusy: Another one is running.
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    runner = uuid4()
    operation_id, resumed = await _start(connection, options, by, planned, runner)
    so_far = Run(operation_id, resumed, "running", Progress(0, 0, 0, 0))
    try:
        while stop is None or not stop.is_set():
            row = await _batch(connection, operation_id, runner, options)
            reached = Progress(
                row["last_id"],
                so_far.progress.articles + row["scanned"],
                so_far.progress.queued + row["queued"],
                so_far.progress.waiting + row["waiting"],
            )
            so_far = replace(so_far, state=row["state"], progress=reached)
            progress(so_far)
            if so_far.state != "running":
                return so_far
        await connection.execute(_STOP, operation_id, runner)
        return replace(so_far, state="stopped")
    except BaseException:
        # Cancelled, or the database is gone: then it is taken for dead after a while.
        with suppress(*EXPECTED_ERRORS):
            async with asyncio.timeout(2.0):
                await connection.execute(_STOP, operation_id, runner)
        raise


def _count(count: CategoryCount, row: asyncpg.Record) -> None:
    count.to_queue += row["articles"] - row["waiting"]
    count.waiting += row["waiting"]
    count.chunks += int(row["chunks"])


async def _start(
    connection: Connection, options: BackfillOptions, by: str, planned: int, runner: UUID
) -> tuple[UUID, bool]:
    row = await connection.fetchrow(
        "SELECT * FROM embedq_bulk_start('backfill', $1, $2, $3, $4, $5, $6, $7)",
        *operator_and_host(by),
        json.dumps(options.filter),
        planned,
        runner,
        round(SILENT_S * 1000),
        round(RESUME_WITHIN_S * 1000),
    )
    assert row is not None
    if row["outcome"] == "busy":
        who = f"{row['operator']}@{row['host']}" if row["host"] else row["operator"]
        raise BackfillBusy(
            f"a backfill of {who} is running since {row['started_at']:%Y-%m-%d %H:%M %Z}",
            f"wait for it; should it be dead, run again after {SILENT_S:g} s",
        )
    return row["id"], row["outcome"] == "resumed"


async def _batch(
    connection: Connection, operation_id: UUID, runner: UUID, options: BackfillOptions
) -> asyncpg.Record:
    row = await connection.fetchrow(
        "SELECT * FROM embedq_backfill_batch($1, $2, $3, $4, $5, $6, $7)",
        operation_id,
        runner,
        options.batch_size,
        options.model,
        list(options.categories),
        options.priority,
        options.max_attempts,
    )
    assert row is not None
    return row
