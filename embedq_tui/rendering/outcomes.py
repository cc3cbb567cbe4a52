"""What became of things, in words, shared by commands and the console."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from embedq_tui.rendering.words import count
from embedq_worker.insights.deaths import LATELY_H, MOST
from embedq_worker.queue.words import parts_of
from embedq_worker.text import printable_line

if TYPE_CHECKING:
    from embedq_worker.actions.article_trigger import ArticleTrigger
    from embedq_worker.actions.probing import Probed
    from embedq_worker.actions.requeue import Requeued
    from embedq_worker.insights.deaths import DeadWorker
    from embedq_worker.insights.failures import FolderCount
    from embedq_worker.queue.retention import Cleaned

REASON = 200
"""Characters to show of a provider's reason: some servers answer with a whole page."""


def queued_words(outcome: Requeued) -> Iterator[str]:
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


def cleaned_words(rows: Cleaned) -> str:
    """Describe numbers of rows."""
    return (
        f"{count(rows.tasks, 'completed task')}, {count(rows.audit_rows, 'audit row')}, "
        f"{count(rows.metrics, 'metric')}, {count(rows.workers, 'ended worker')}"
    )


def probed_words(probed: Probed) -> str:
    """Describe the result in one line."""
    if not probed.held:
        return f"{probed.key} is available again"
    if probed.answered:
        reason = reason_without_name(probed.reason, probed.key)
        return f"{probed.key} still fails: {printable_line(reason, REASON)}"
    if not probed.workers:
        return f"{probed.key} is unavailable, and no running worker uses it and could probe it"
    return f"{probed.key} has not answered yet; the probe is still running"


def reason_without_name(reason: str, key: str) -> str:
    """Why a provider fails, without the model or the address that it may begin with.

    Args:
        reason: As the provider's breaker has it.
        key: Name of that breaker, shown beside it: lines are cut at their end.
    """
    model, address = parts_of(key)
    return reason.removeprefix(address).removeprefix(model).lstrip(": ")


def trigger_words(state: ArticleTrigger) -> str:
    """Describe what is installed, in one line."""
    if not state.events:
        return "The trigger is not installed."
    events = ", ".join(state.events)
    if state.disabled:
        return f"The trigger is installed for {events}, but disabled for {', '.join(state.disabled)}."
    if not state.installed:
        return f"The trigger is incomplete ({events} only); to repair it: embedq-tui triggers install"
    return f"The trigger is installed for {events}; its tasks get {state.max_attempts} attempts."


def deaths_words(dead: Sequence[DeadWorker]) -> str:
    """How many workers died lately: ``2 dead in 24 h``."""
    return f"{len(dead)}{'+' if len(dead) >= MOST else ''} dead in {LATELY_H} h"


def death_words(worker: DeadWorker) -> str:
    """What a dead worker held, and whether it was taken back: ``held 3 tasks, 1 not yet taken back``."""
    if not worker.in_hand:
        return "held no task"
    left = f"{worker.unreturned:,} not yet " if worker.unreturned else ""
    return f"held {count(worker.in_hand, 'task')}, {left}taken back"


def folder_words(folders: Sequence[FolderCount]) -> str:
    """In which folders tasks failed: ``guides 812, api/v2 120``."""
    return ", ".join(f"{printable_line(one.folder, 60) or 'no folder'} {one.tasks:,}" for one in folders)
