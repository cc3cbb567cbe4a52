"""Queueing selected articles: ask for a priority, run with progress, report."""

from __future__ import annotations

from collections.abc import Mapping

from embedq_tui.desk import Desk
from embedq_tui.dialogs.outcome import Report
from embedq_tui.dialogs.running import Progress
from embedq_tui.rendering.outcomes import queued_words
from embedq_tui.rendering.words import count
from embedq_tui.screens.priorities import ask_priority
from embedq_worker.actions.requeue import Requeued, queue_articles
from embedq_worker.schema.state import require_current
from embedq_worker.schema.task_values import Priority


async def queue(desk: Desk, chosen: Mapping[int, str]) -> bool:
    """Queue articles after asking for a priority. Call it in a Textual worker.

    Args:
        desk: Of the database.
        chosen: Their ids and slugs.

    Returns:
        Whether it was completed.
    """
    dialogs = desk.dialogs
    if dialogs.refused():
        return False
    named = next(iter(chosen.values())) if len(chosen) == 1 else count(len(chosen), "marked article")
    priority = await ask_priority(desk.app, f"Queue {named} with which priority?", "normal")
    if priority is None:
        return False
    outcome = Requeued()
    progress = Progress(f"Queueing {count(len(chosen), 'article')}", len(chosen), noun="article")
    done = await dialogs.attempt(progress, lambda: _run(desk, tuple(chosen), priority, outcome, progress))
    words = [*queued_words(outcome)]
    if done is not None:
        dialogs.notify("; ".join(words), bad=not outcome.queued)
    elif progress.stopping:
        await dialogs.tell(Report("Stopped", [*words, "Queued articles stay queued."]))
    return done is not None


async def _run(
    desk: Desk, articles: tuple[int, ...], priority: Priority, outcome: Requeued, progress: Progress
) -> Requeued:
    async with desk.session.link.connection() as connection:
        await require_current(connection)
        return await queue_articles(
            connection,
            articles,
            by=desk.options.operator,
            max_attempts=desk.session.settings.max_retries,
            priority=priority,
            outcome=outcome,
            progress=progress.reached,
        )
