"""Run backfills as an operator does: plan first, then queue what was found."""

from __future__ import annotations

from embedq_worker.actions import backfill
from embedq_worker.actions.backfill import BackfillOptions, BackfillPlan, BackfillRun
from tests.support.databases import Connection

OPTIONS = BackfillOptions(model="openai/stub", max_attempts=4)
BY = "ada@example"


async def look(connection: Connection, options: BackfillOptions = OPTIONS, *, page: int = 7) -> BackfillPlan:
    return await backfill.plan(connection, options, words_per_chunk=450, page=page)


async def found(connection: Connection, options: BackfillOptions = OPTIONS) -> dict[str, int]:
    """Number of articles to queue, by category."""
    plan = await look(connection, options)
    return {category.value: count.to_queue for category, count in plan.counts.items() if count.to_queue}


async def queue_all(connection: Connection, options: BackfillOptions = OPTIONS) -> BackfillRun:
    planned = (await look(connection, options)).of(options).to_queue
    return await backfill.run(connection, options, by=BY, planned=planned)
