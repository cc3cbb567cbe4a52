"""What became of articles that were queued by name, in words."""

from __future__ import annotations

from collections.abc import Iterator

from embedq_tui.output import count
from embedq_worker.actions.requeue import Requeued


def told(outcome: Requeued) -> Iterator[str]:
    """What happened to articles, a few words for each kind of fate.

    Args:
        outcome: Of `queue_articles`, also of a run that was interrupted.
    """
    yield f"{count(outcome.queued, 'article')} queued"
    if outcome.waiting:
        yield f"{outcome.waiting:,} queued already"
    if outcome.excluded:
        yield f"{outcome.excluded:,} not to be embedded (no_rag)"
    if outcome.gone:
        yield f"{outcome.gone:,} no longer there"
