"""A backfill from the console: counted, asked, run with progress, told, gone on with, taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embedq_tui.dialogs.choose import Choice, ask_choice
from embedq_tui.dialogs.confirm import Confirmation, Decision
from embedq_tui.dialogs.outcome import Report
from embedq_tui.dialogs.running import Progress
from embedq_tui.output import count
from embedq_tui.screens.articles.priorities import ask_priority
from embedq_tui.screens.articles.questions import LastBackfill
from embedq_tui.workflows.backfilling import WORDS, Planned, plan_backfill, plan_lines, target_of
from embedq_worker.actions import backfill, bulk
from embedq_worker.actions.backfill import BackfillOptions, Run
from embedq_worker.actions.bulk import Operation
from embedq_worker.errors import EmbedqError
from embedq_worker.schema.needs import Category

if TYPE_CHECKING:
    from embedq_tui.console.app import Console


async def run_backfill(console: Console) -> None:
    """Count what would be queued, ask, and queue it. Call it in a worker of Textual.

    Args:
        console: Where it is asked for.
    """
    dialogs = console.dialogs
    progress = Progress("Comparing articles with their embeddings", noun="article", stop="Leave it")
    planned = await dialogs.attempt(progress, lambda reached: _plan(console, reached))
    if planned is None:
        return
    if not planned.tasks:
        await dialogs.tell(Report("There is nothing to queue", list(plan_lines(planned))))
        return
    chosen = await _choose(console, planned)
    if chosen is not None and await dialogs.confirm(_confirmation(chosen)) is Decision.YES:
        await _carry_out(console, chosen)


async def _plan(console: Console, progress: Progress) -> Planned:
    settings = console.session.settings
    target = await target_of(settings)
    async with console.session.link.connection() as connection:
        options = BackfillOptions(target.model, settings.max_retries)
        return await plan_backfill(connection, settings, target, options, progress.reached)


async def _choose(console: Console, planned: Planned) -> Planned | None:
    """Which of them, and with which priority."""
    wrong = [category for category in WORDS if planned.plan.counts[category].to_queue]
    categories = frozenset(wrong)
    if len(wrong) > 1:
        among = [
            Choice(frozenset({category}), f"{planned.plan.counts[category].to_queue:,} {WORDS[category]}")
            for category in wrong
        ]
        whole = Choice(categories, f"All {planned.tasks:,}")
        wanted = await ask_choice(console, "Which articles are to be embedded again?", [whole, *among])
        if wanted is None:
            return None
        categories = wanted
    chosen = planned.only(categories, "low")
    title = f"Priority of {count(chosen.tasks, 'task')}"
    priority = await ask_priority(console, title, "low")
    return None if priority is None else chosen.only(categories, priority)


def _confirmation(planned: Planned) -> Confirmation:
    priority = planned.options.priority
    lines = list(plan_lines(planned))
    if Category.NO_RAG in planned.options.categories and len(planned.options.categories) == 1:
        lines.append("Their embeddings are removed.")
    else:
        lines.append("Nothing is deleted before the new embeddings are there.")
    title = f"Queue {count(planned.tasks, 'task')} with priority {priority}?"
    return Confirmation(title, lines, f"Queue {planned.tasks:,}")


async def _carry_out(console: Console, planned: Planned) -> None:
    dialogs = console.dialogs
    progress = Progress(f"Queueing {count(planned.tasks, 'task')}", planned.tasks)
    ended = await dialogs.attempt(progress, lambda reached: _run(console, planned, reached))
    if ended is None:
        if progress.stopping:
            await _tell_stopped(console)
        return
    queued = count(ended.progress.queued, "task")
    if ended.state == "done":
        went_on = ", the backfill that was stopped was gone on with" if ended.resumed else ""
        dialogs.notify(f"{queued} queued{went_on}\noperation {ended.operation_id}\nB takes it back")
        return
    words = "somebody took it back" if ended.state == "rolled_back" else f"it is {ended.state}"
    await dialogs.tell(
        Report(f"{queued} queued, then {words}", [f"operation {ended.operation_id}"], bad=True)
    )


async def _tell_stopped(console: Console) -> None:
    """As the database has it: a batch may have been queued while it was stopped."""
    looking = Progress("Looking what was queued", stop="Leave it")
    found = await console.dialogs.attempt(looking, lambda _: _last(console))
    if found is not None:
        title = f"Stopped: {found.queued:,} of {count(found.planned, 'task')} queued"
        rest = "What was queued stays queued: b goes on with the rest, B takes it back."
        await console.dialogs.tell(Report(title, [rest, f"operation {found.id}"]))


async def _run(console: Console, planned: Planned, progress: Progress) -> Run:
    def told(so_far: Run) -> None:
        progress.reached(so_far.progress.queued)
        progress.lines = [f"{count(so_far.progress.articles, 'article')} looked at"]

    async with console.session.link.connection() as connection:
        return await backfill.run(
            connection, planned.options, by=console.options.operator, planned=planned.tasks, progress=told
        )


async def take_back(console: Console) -> None:
    """Take back the tasks of the last backfill that nobody has begun, after a question.

    Args:
        console: Where it is asked for.
    """
    dialogs = console.dialogs
    looking = Progress("Looking for the last backfill", stop="Leave it")
    found = await dialogs.attempt(looking, lambda _: _last(console))
    if found is None:
        return
    pending = found.tasks.get("pending", 0)
    if not pending and found.state != "running":
        dialogs.notify("Of the last backfill nothing waits: there is nothing to take back")
        return
    if await dialogs.confirm(_back_confirmation(found, pending)) is not Decision.YES:
        return
    progress = Progress(f"Taking back {count(pending, 'task')}", pending or None)
    removed = await dialogs.attempt(progress, lambda reached: _rollback(console, found, reached))
    if removed is not None:
        dialogs.notify(f"{count(removed, 'task')} taken back\noperation {found.id}")
    elif progress.stopping:
        told = f"Stopped: {progress.done:,} of {count(pending, 'task')} taken back"
        await dialogs.tell(Report(told, ["B goes on with the rest."]))


async def _last(console: Console) -> Operation:
    found = await console.session.ask(LastBackfill())
    if found is None:
        raise EmbedqError("no backfill has been run yet")
    return found


def _back_confirmation(found: Operation, pending: int) -> Confirmation:
    who = f"{found.operator}@{found.host}" if found.host else found.operator
    begun = f"{found.started_at.astimezone():%Y-%m-%d %H:%M:%S}"
    lines = [f"Begun {begun} by {who}: {found.queued:,} queued"]
    begun_on = ("processing", "completed", "failed")
    stays = [f"{found.tasks[name]:,} {name}" for name in begun_on if name in found.tasks]
    if stays:
        lines.append(f"What was begun stays as it is: {', '.join(stays)}.")
    if found.state == "running":
        lines.append("It is still running: it ends.")
    lines.append("The tasks are deleted; their articles stay as they are. b queues them again.")
    title = f"Take back {count(pending, 'pending task')} of the last backfill?"
    return Confirmation(title, lines, f"Take back {pending:,}", danger=True)


async def _rollback(console: Console, found: Operation, progress: Progress) -> int:
    async with console.session.link.connection() as connection:
        return await bulk.rollback(
            connection, found.id, by=console.options.operator, progress=progress.reached
        )
