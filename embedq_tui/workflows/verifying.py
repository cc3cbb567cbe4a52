"""Checking stored counts and embeddings against the data. Shared by the command and the console."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from embedq_tui.rendering.words import count
from embedq_worker.actions import backfill
from embedq_worker.actions.backfill import BackfillOptions, BackfillPlan
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.failures import overspent_tasks
from embedq_worker.queue.counts import Drift, count_drift, repair_counts
from embedq_worker.schema import migrations
from embedq_worker.schema.check import Problem
from embedq_worker.schema.needs import Category
from embedq_worker.schema.state import require_current

_DAMAGE = {
    Category.MISSING: "with text but no embeddings",
    Category.FAILED: "that failed, without embeddings of the current text",
    Category.STALE: "with embeddings of an older text",
    Category.MODEL: "with embeddings of another model",
    Category.NO_RAG: "marked no_rag, with embeddings",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with some articles or tasks.

    Attributes:
        code: missing, failed, stale, model, no_rag (articles); overspent (tasks).
        count: How many need action.
        waiting: How many more a queued task will fix.
        message: Description.
        advice: The command that repairs it.
    """

    code: str
    count: int
    waiting: int
    message: str
    advice: str


@dataclass(frozen=True, slots=True)
class Verified:
    """Everything that was found.

    Attributes:
        ok: Nothing is wrong, or it was repaired.
        repaired: The counts were wrong and have been corrected.
        drift: Counts that are, or were, wrong.
        schema: What is missing from the schema.
        findings: What is wrong with articles and tasks.
        articles: Number of articles examined.
        model: The model the embeddings were compared with.
    """

    ok: bool
    repaired: bool
    drift: list[Drift]
    schema: list[Problem]
    findings: list[Finding]
    articles: int
    model: str


async def prove(
    connection: Connection,
    settings: Settings,
    model: str,
    *,
    repair_by: str = "",
    progress: Callable[[int], None] = lambda articles: None,
) -> Verified:
    """Compare stored counts and embeddings with the data; reads whole tables.

    Args:
        connection: To the database.
        settings: How articles are to be embedded.
        model: The model these settings name.
        repair_by: Correct the counts on behalf of this operator; empty to only check.
        progress: Called with the number of articles examined.

    Raises:
        SchemaError: The database is not migrated.
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    await require_current(connection)
    schema = await migrations.verify(connection)
    drift = await (repair_counts(connection, repair_by) if repair_by else count_drift(connection))
    options = BackfillOptions(model=model, max_attempts=settings.max_retries)
    words = settings.chunk_size - settings.chunk_overlap
    plan = await backfill.plan(connection, options, words_per_chunk=words, progress=progress)
    findings = _findings(plan, await overspent_tasks(connection))
    bad = any(finding.count for finding in findings)
    return Verified(
        ok=not (schema or bad or (drift and not repair_by)),
        repaired=bool(repair_by and drift),
        drift=drift,
        schema=schema,
        findings=findings,
        articles=plan.articles,
        model=model,
    )


def _findings(plan: BackfillPlan, overspent: int) -> list[Finding]:
    found = [
        Finding(
            category.value,
            plan.counts[category].to_queue,
            plan.counts[category].waiting,
            f"{count(plan.counts[category].to_queue or plan.counts[category].waiting, 'article')} {words}",
            f"run: embedq-tui backfill --only {category.value.replace('_', '-')}",
        )
        for category, words in _DAMAGE.items()
        if plan.counts[category].to_queue or plan.counts[category].waiting
    ]
    if overspent:
        found.append(
            Finding(
                "overspent",
                overspent,
                0,
                f"{count(overspent, 'failed task')} with more attempts than allowed (another program's)",
                "run: embedq-tui retry --failed",
            )
        )
    return found


def lines_of(verified: Verified) -> Iterator[str]:
    """Describe what was found, line by line."""
    for problem in verified.schema:
        yield f"Schema: {problem.message}"
        yield f"  {problem.advice}"
    for drift in verified.drift:
        yield f"Counts: {drift.line}"
    if verified.repaired:
        yield "Counts: repaired"
    elif verified.drift:
        yield "  run: embedq-tui verify --repair"
    else:
        yield "Counts: equal to COUNT(*)"
    for finding in verified.findings:
        waiting = f"{finding.waiting:,} more are" if finding.count else "all are"
        yield finding.message + (f" ({waiting} already queued)" if finding.waiting else "")
        if finding.count:
            yield f"  {finding.advice}"
    if not verified.findings:
        yield f"Articles: {verified.articles:,} examined, all have the embeddings of their text"
