"""The outcome of queueing specific articles, in words."""

from __future__ import annotations

from collections.abc import Iterator

from embedq_tui.output import count
from embedq_worker.actions.requeue import Requeued


def describe(outcome: Requeued) -> Iterator[str]:
    """Describe what happened to the articles, one text per kind of outcome.

    Args:
        outcome: From `queue_articles`, interrupted or not.
    """
    yield f"{count(outcome.queued, 'article')} queued"
    if outcome.waiting:
        yield f"{outcome.waiting:,} already queued"
    if outcome.excluded:
        yield f"{outcome.excluded:,} excluded (no_rag)"
    if outcome.gone:
        yield f"{outcome.gone:,} no longer exist"
