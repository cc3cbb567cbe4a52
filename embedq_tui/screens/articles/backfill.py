"""Backfill from the console: count, confirm, run with progress, report, resume, roll back."""

from __future__ import annotations

from collections.abc import Mapping

from embedq_tui.desk import Desk
from embedq_tui.dialogs.choose import Choice, ask_choice
from embedq_tui.dialogs.confirm import Confirmation, Decision
from embedq_tui.dialogs.outcome import Report
from embedq_tui.dialogs.running import Progress
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.words import count
from embedq_tui.screens.articles.questions import LastBackfill
from embedq_tui.screens.priorities import ask_priority
from embedq_tui.workflows.backfilling import WORDS, Planned, plan_backfill, plan_lines, target_of
from embedq_worker.actions import backfill, bulk
from embedq_worker.actions.backfill import BackfillOptions, BackfillRun
from embedq_worker.actions.bulk import Operation
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.articles import ArticleFilter, State
from embedq_worker.schema.needs import Category

_ALL = ArticleFilter()

_QUEUED: Mapping[State, Category] = {
    State.EXCLUDED: Category.NO_RAG,
    State.FAILED: Category.FAILED,
    State.MISSING: Category.MISSING,
    State.STALE: Category.STALE,
    State.MODEL: Category.MODEL,
}
"""The states of which articles may need a task, and why."""


async def run_backfill(desk: Desk, wanted: ArticleFilter = _ALL) -> None:
    """Count what would be queued, ask, and queue it. Call it in a Textual worker.

    Args:
        desk: Of the database.
        wanted: Only these articles.
    """
    dialogs = desk.dialogs
    progress = Progress("Comparing articles with their embeddings", noun="article", stop="Cancel")
    planned = await dialogs.attempt(progress, lambda: _plan(desk, wanted, progress))
    if planned is None:
        return
    if not planned.tasks:
        await dialogs.tell(Report("Nothing to queue", list(plan_lines(planned))))
        return
    chosen = await _choose(desk, planned)
    if chosen is not None and await dialogs.confirm(_confirmation(chosen)) is Decision.YES:
        await _carry_out(desk, chosen)


async def _plan(desk: Desk, wanted: ArticleFilter, progress: Progress) -> Planned:
    settings = desk.session.settings
    target = await target_of(settings)
    async with desk.session.link.connection() as connection:
        options = BackfillOptions(
            target.model,
            settings.max_retries,
            frozenset(_QUEUED[state] for state in wanted.states or State if state in _QUEUED),
            folder=wanted.folder,
            text=wanted.text,
        )
        return await plan_backfill(connection, settings, target, options, progress.reached)


async def _choose(desk: Desk, planned: Planned) -> Planned | None:
    """Ask which articles to queue, and with which priority."""
    wrong = [category for category in WORDS if _found(planned, category)]
    categories = frozenset(wrong)
    if len(wrong) > 1:
        among = [
            Choice(frozenset({category}), f"{_found(planned, category):,} {WORDS[category]}")
            for category in wrong
        ]
        whole = Choice(categories, f"All {planned.tasks:,}")
        wanted = await ask_choice(desk.app, "Which articles do you want to queue?", [whole, *among])
        if wanted is None:
            return None
        categories = wanted
    chosen = planned.only(categories, "low")
    title = f"Priority of {count(chosen.tasks, 'task')}"
    priority = await ask_priority(desk.app, title, "low")
    return None if priority is None else chosen.only(categories, priority)


def _found(planned: Planned, category: Category) -> int:
    return planned.plan.counts[category].to_queue if category in planned.options.categories else 0


def _confirmation(planned: Planned) -> Confirmation:
    priority = planned.options.priority
    lines = list(plan_lines(planned))
    if Category.NO_RAG in planned.options.categories and len(planned.options.categories) == 1:
        lines.append("Their embeddings will be removed.")
    else:
        lines.append("Old embeddings stay until the new ones are stored.")
    title = f"Queue {count(planned.tasks, 'task')} with priority {priority}?"
    return Confirmation(title, lines, f"Queue {planned.tasks:,}")


async def _carry_out(desk: Desk, planned: Planned) -> None:
    dialogs = desk.dialogs
    progress = Progress(f"Queueing {count(planned.tasks, 'task')}", planned.tasks)
    ended = await dialogs.attempt(progress, lambda: _run(desk, planned, progress))
    if ended is None:
        if progress.stopping:
            await _report_stopped(desk)
        return
    queued = count(ended.queued, "task")
    if ended.state == "done":
        went_on = ", resuming the stopped backfill" if ended.resumed else ""
        back = f"{key('articles.take_back')}: roll back"
        dialogs.notify(f"{queued} queued{went_on}\noperation {ended.operation_id}\n{back}")
        return
    words = "somebody rolled it back" if ended.state == "rolled_back" else f"it is {ended.state}"
    await dialogs.tell(
        Report(f"{queued} queued, then {words}", [f"operation {ended.operation_id}"], bad=True)
    )


async def _report_stopped(desk: Desk) -> None:
    """Report what was queued according to the database: a last batch may have gone through."""
    looking = Progress("Checking what was queued", stop="Cancel")
    found = await desk.dialogs.attempt(looking, lambda: _last(desk))
    if found is not None:
        title = f"Stopped: {found.queued:,} of {count(found.planned, 'task')} queued"
        resume, back = key("articles.backfill"), key("articles.take_back")
        rest = f"Queued tasks stay queued. {resume}: resume, {back}: roll back."
        await desk.dialogs.tell(Report(title, [rest, f"operation {found.id}"]))


async def _run(desk: Desk, planned: Planned, progress: Progress) -> BackfillRun:
    def report(so_far: BackfillRun) -> None:
        progress.reached(so_far.queued)
        progress.lines = [f"{count(so_far.articles, 'article')} examined"]

    async with desk.session.link.connection() as connection:
        return await backfill.run(
            connection, planned.options, by=desk.options.operator, planned=planned.tasks, progress=report
        )


async def take_back(desk: Desk) -> None:
    """Remove the pending tasks of the last backfill, after confirmation.

    Args:
        desk: Of the database.
    """
    dialogs = desk.dialogs
    looking = Progress("Loading the last backfill", stop="Cancel")
    found = await dialogs.attempt(looking, lambda: _last(desk))
    if found is None:
        return
    pending = found.tasks.get("pending", 0)
    if not pending and found.state != "running":
        dialogs.notify("Nothing to roll back: no task of the last backfill is pending")
        return
    if await dialogs.confirm(_back_confirmation(found, pending)) is not Decision.YES:
        return
    progress = Progress(f"Removing {count(pending, 'task')}", pending or None)
    removed = await dialogs.attempt(progress, lambda: _rollback(desk, found, progress))
    if removed is not None:
        dialogs.notify(f"{count(removed, 'task')} removed\noperation {found.id}")
    elif progress.stopping:
        title = f"Stopped: {progress.done:,} of {count(pending, 'task')} removed"
        await dialogs.tell(Report(title, [f"Press {key('articles.take_back')} to continue with the rest."]))


async def _last(desk: Desk) -> Operation:
    found = await desk.session.ask(LastBackfill())
    if found is None:
        raise EmbedqError("no backfill has run yet")
    return found


def _back_confirmation(found: Operation, pending: int) -> Confirmation:
    begun = f"{found.started_at.astimezone():%Y-%m-%d %H:%M:%S}"
    lines = [f"Started {begun} by {found.by}: {found.queued:,} queued"]
    begun_on = ("processing", "completed", "failed")
    stays = [f"{found.tasks[name]:,} {name}" for name in begun_on if name in found.tasks]
    if stays:
        lines.append(f"The others stay as they are: {', '.join(stays)}.")
    if found.state == "running":
        lines.append("It is still running and will be stopped.")
    again = key("articles.backfill")
    lines.append(f"The tasks are deleted; the articles are not changed. To queue them again: {again}.")
    title = f"Remove {count(pending, 'pending task')} of the last backfill?"
    return Confirmation(title, lines, f"Remove {pending:,}", danger=True)


async def _rollback(desk: Desk, found: Operation, progress: Progress) -> int:
    async with desk.session.link.connection() as connection:
        return await bulk.rollback(connection, found.id, by=desk.options.operator, progress=progress.reached)
