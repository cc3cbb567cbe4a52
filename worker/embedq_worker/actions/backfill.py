"""Find articles whose embeddings are missing, stale or from another model, and queue them page by page.

sql/012_bulk (`embedq_backfill_page`) decides what is wrong from the present articles, embeddings and tasks,
so it does not matter what caused the damage, and a second run queues nothing. Old vectors stay until the new
ones are stored. `bulk` tells what became of a run.
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

from embedq_worker.actions.tasks import whole
from embedq_worker.database.connections import Connection
from embedq_worker.database.failures import EXPECTED_ERRORS
from embedq_worker.errors import EmbedqError
from embedq_worker.queue.operator_log import by_whom
from embedq_worker.queue.selection import pattern_of
from embedq_worker.schema.needs import Category
from embedq_worker.schema.task_values import Priority

PAGE = 1_000
"""Articles examined per round trip."""
SILENT_S = 30.0
"""A run without progress for this long is presumed dead, and another one may continue it."""
RESUME_WITHIN_S = 86_400.0
"""A run that ended early is continued within this time; later, a new operation is started."""
BYTES_PER_WORD = 6


@dataclass(frozen=True, slots=True)
class BackfillOptions:
    """What to look for, and how to queue it.

    Attributes:
        model: Model that vectors should be from, `Provider.model`.
        max_attempts: max_attempts of the tasks.
        categories: Categories to queue.
        priority: Priority of the tasks.
        batch_size: Articles examined, and so at most queued, per transaction.
        folder: Only articles in this folder or a subfolder; empty for any.
        text: Only articles with this in slug or title, in any case; empty for any.
    """

    model: str
    max_attempts: int
    categories: frozenset[Category] = frozenset(Category)
    priority: Priority = "low"
    batch_size: int = PAGE
    folder: str = ""
    text: str = ""

    @property
    def filter(self) -> dict[str, object]:
        """The filter stored with the operation; a run continues one with the same filter."""
        return {
            "model": self.model,
            "categories": sorted(self.categories),
            "priority": self.priority,
            **({"folder": self.folder} if self.folder else {}),
            **({"text": self.text} if self.text else {}),
        }

    @property
    def pattern(self) -> str | None:
        """The LIKE pattern of `text`; None for any."""
        return pattern_of(self.text) if self.text else None


@dataclass(slots=True)
class CategoryCount:
    """Articles of one category.

    Attributes:
        to_queue: Without an open task.
        waiting: With a task that is already pending or in progress.
        chunks: Estimated number of chunks of those to queue.
    """

    to_queue: int = 0
    waiting: int = 0
    chunks: int = 0


@dataclass(slots=True)
class BackfillPlan:
    """What a run would find.

    Attributes:
        articles: Articles compared: all, or those of the folder and the text.
        counts: Counts of every category, whether it is to be queued or not.
    """

    articles: int = 0
    counts: dict[Category, CategoryCount] = field(
        default_factory=lambda: {category: CategoryCount() for category in Category}
    )

    def of(self, options: BackfillOptions) -> CategoryCount:
        """Sum over the categories to queue."""
        wanted = [self.counts[category] for category in options.categories]
        return CategoryCount(
            sum(count.to_queue for count in wanted),
            sum(count.waiting for count in wanted),
            sum(count.chunks for count in wanted),
        )


@dataclass(frozen=True, slots=True)
class BackfillRun:
    """How a run ended, or how far it has come.

    Attributes:
        operation_id: Its id, in the metadata of its tasks as ``bulkOperationId``.
        resumed: It continued an operation that had ended early.
        state: ``running``; ``done``; ``stopped`` as requested; ``rolled_back`` or ``taken over`` by another
            session in the meantime.
        articles: Articles examined.
        queued: Tasks queued by this run.
    """

    operation_id: UUID
    resumed: bool
    state: str = "running"
    articles: int = 0
    queued: int = 0


class BackfillBusy(EmbedqError):
    """Another backfill is running."""


_PLAN = """
SELECT category, count(*) AS articles, count(bytes) AS compared, max(article_id) AS last_id,
       count(*) FILTER (WHERE waiting) AS waiting,
       coalesce(sum(greatest(1, ceil(bytes / $4::float)))
                FILTER (WHERE NOT waiting AND category <> 'no_rag'), 0) AS chunks
FROM embedq_backfill_page($1, $2, $3, NULL, $5, $6) GROUP BY category
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
) -> BackfillPlan:
    """Count what is wrong, in pages: memory and the cost of a page do not depend on the number of articles.

    Args:
        connection: To a migrated database.
        options: Of these, the model that vectors should be from, and which articles to compare.
        words_per_chunk: New words per chunk, that is size minus overlap; for the estimate.
        page: Articles per round trip.
        progress: Called after each page with the number of articles examined.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    found = BackfillPlan()
    last_id, examined = -(2**31), 0
    bytes_per_chunk = words_per_chunk * BYTES_PER_WORD
    while True:
        rows = await connection.fetch(
            _PLAN, last_id, page, options.model, bytes_per_chunk, options.folder, options.pattern
        )
        looked_at = sum(row["articles"] for row in rows)
        for row in rows:
            if row["category"] is not None:
                _count(found.counts[Category(row["category"])], row)
            found.articles += row["compared"]
        examined += looked_at
        progress(examined)
        if looked_at < page:
            return found
        last_id = max(row["last_id"] for row in rows)


def estimate_requests(count: CategoryCount, *, inputs: int, batch_size: int) -> int:
    """Estimate the requests to the provider; unchanged chunks, which need none, are not subtracted.

    Args:
        count: Counts from the plan.
        inputs: Texts per request, `Provider.limits`.
        batch_size: Tasks a worker claims together; a request holds chunks of one batch.
    """
    return max(math.ceil(count.chunks / inputs), math.ceil(min(count.to_queue, count.chunks) / batch_size))


async def run(
    connection: Connection,
    options: BackfillOptions,
    *,
    by: str,
    planned: int,
    progress: Callable[[BackfillRun], None] = lambda so_far: None,
    stop: asyncio.Event | None = None,
) -> BackfillRun:
    """Queue what is wrong in batches, each a transaction with an audit row.

    Articles with an open task are skipped. A run that was stopped or killed at any point can be repeated:
    nothing is queued twice, and with the same filter it continues the same operation.

    Args:
        connection: To a migrated database; not in a transaction.
        options: What to queue, and how.
        by: Operator as ``user@host``.
        planned: Tasks expected, as counted by `plan`; stored for `status`.
        progress: Called after each batch.
        stop: Set it to end the run after the current batch.

    Raises:
        BackfillBusy: Another backfill is running.
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    runner = uuid4()
    operation_id, resumed = await _start(connection, options, by, planned, runner)
    so_far = BackfillRun(operation_id, resumed)

    async def batch() -> None:
        nonlocal so_far
        row = await _batch(connection, operation_id, runner, options)
        so_far = BackfillRun(
            operation_id,
            resumed,
            row["state"],
            so_far.articles + row["scanned"],
            so_far.queued + row["queued"],
        )
        progress(so_far)

    try:
        while stop is None or not stop.is_set():
            await whole(batch())
            if so_far.state != "running":
                return so_far
        await connection.execute(_STOP, operation_id, runner)
        return replace(so_far, state="stopped")
    except BaseException:
        # Cancelled; or the database is gone, and the run will be presumed dead after a while.
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
        "SELECT * FROM embedq_bulk_start($1, $2, $3, $4, $5, $6)",
        by,
        json.dumps(options.filter),
        planned,
        runner,
        round(SILENT_S * 1000),
        round(RESUME_WITHIN_S * 1000),
    )
    assert row is not None
    if row["outcome"] == "busy":
        who = by_whom(row["operator"], row["host"])
        raise BackfillBusy(
            f"a backfill by {who} has been running since {row['started_at']:%Y-%m-%d %H:%M %Z}",
            f"wait until it ends; if its process is dead, run this again after {SILENT_S:g} s",
        )
    return row["id"], row["outcome"] == "resumed"


async def _batch(
    connection: Connection, operation_id: UUID, runner: UUID, options: BackfillOptions
) -> asyncpg.Record:
    row = await connection.fetchrow(
        "SELECT * FROM embedq_backfill_batch($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        operation_id,
        runner,
        options.batch_size,
        options.model,
        list(options.categories),
        options.priority,
        options.max_attempts,
        options.folder,
        options.pattern,
    )
    assert row is not None
    return row
