"""Database maintenance: clean-up, the trigger on articles, verifying and repairing."""

from __future__ import annotations

import re

from embedq_tui.desk import Desk
from embedq_tui.dialogs.choose import Choice, ask_choice, ask_text
from embedq_tui.dialogs.confirm import Confirmation, Decision
from embedq_tui.dialogs.outcome import Report
from embedq_tui.dialogs.running import Progress
from embedq_tui.rendering.outcomes import cleaned_words, trigger_words
from embedq_tui.rendering.words import count
from embedq_tui.screens.articles.backfill import run_backfill
from embedq_tui.workflows.backfilling import target_of
from embedq_tui.workflows.cleaning import clean
from embedq_tui.workflows.verifying import Verified, lines_of, prove
from embedq_worker.actions import article_trigger
from embedq_worker.actions.article_trigger import ArticleTrigger
from embedq_worker.queue.counts import Drift, miscounted, repair_counts
from embedq_worker.queue.retention import Cleaned, RowsHeld, count_expired
from embedq_worker.schema.state import require_current

LONGEST_DAYS = 36_500

# -- cleaning up


async def clean_up(desk: Desk) -> None:
    """Delete old data, after counting and confirmation. Call it in a Textual worker.

    Args:
        desk: Of the database.
    """
    dialogs, settings = desk.dialogs, desk.session.settings
    if dialogs.refused():
        return
    text = await ask_text(
        desk.app,
        "Delete data older than how many days?",
        value=str(settings.cleanup_retention_days),
        note="Completed tasks, audit rows, metrics, ended workers. Failed tasks are kept. "
        f"Running workers do this by themselves every {settings.cleanup_interval_h:g} h.",
        complaint=_days_complaint,
    )
    if text is None:
        return
    days = int(text)
    counting = Progress("Counting old rows", noun="row", stop="Cancel")
    found = await dialogs.attempt(counting, lambda: _count(desk, days))
    if found is None:
        return
    if not found.total:
        dialogs.notify(f"Nothing is older than {count(days, 'day')}")
    elif await dialogs.confirm(_clean_confirmation(found, days)) is Decision.YES:
        await _clean(desk, found, days)


def _days_complaint(text: str) -> str:
    fits = re.fullmatch("[0-9]{1,5}", text) and 1 <= int(text) <= LONGEST_DAYS
    return "" if fits else f"enter a number of days, 1 to {LONGEST_DAYS:,}"


async def _count(desk: Desk, days: int) -> Cleaned:
    async with desk.session.link.connection() as connection:
        await require_current(connection)
        return await count_expired(connection, days=days)


def _clean_confirmation(found: Cleaned, days: int) -> Confirmation:
    title = f"Delete {count(found.total, 'row')} older than {count(days, 'day')}?"
    word = str(found.total)
    lines = [cleaned_words(found), "This cannot be undone.", f"Type {word} to confirm."]
    return Confirmation(title, lines, f"Delete {found.total:,}", word, danger=True)


async def _clean(desk: Desk, found: Cleaned, days: int) -> None:
    dialogs = desk.dialogs
    progress = Progress(f"Deleting {count(found.total, 'row')}", found.total, noun="row")
    missed = "A worker is running the clean-up already; nothing was deleted here."

    async def run() -> str | RowsHeld:
        def report(deleted: Cleaned) -> None:
            progress.reached(deleted.total)

        try:
            deleted = await clean(desk.session.settings, days, found, desk.options.operator, report)
        except RowsHeld as held:  # it went through all the same: running it again would not help
            return held
        return f"Deleted: {cleaned_words(deleted)}" if deleted is not None else missed

    outcome = await dialogs.attempt(progress, run)
    if isinstance(outcome, RowsHeld):
        title = f"{count(outcome.cleaned.total, 'row')} deleted, others kept"
        lines = [f"Deleted: {cleaned_words(outcome.cleaned)}", outcome.message, outcome.advice]
        await dialogs.tell(Report(title, lines))
    elif outcome is not None:
        dialogs.notify(outcome, bad=outcome == missed)
    elif progress.stopping:
        title = f"Stopped: {progress.done:,} of {count(found.total, 'row')} deleted"
        await dialogs.tell(Report(title, ["Run the clean-up again to continue with the rest."]))


# -- the trigger


async def switch_trigger(desk: Desk) -> None:
    """Install the trigger on articles, or remove it, after confirmation. Call it in a Textual worker.

    Args:
        desk: Of the database.
    """
    dialogs = desk.dialogs
    looking = Progress("Checking the trigger", stop="Cancel")
    found = await dialogs.attempt(looking, lambda: _trigger(desk))
    if found is None:
        return
    install = not found.enabled
    if await dialogs.confirm(_trigger_confirmation(found, install=install)) is not Decision.YES:
        return
    title = "Installing the trigger" if install else "Removing the trigger"
    after = await dialogs.attempt(Progress(title), lambda: _switch(desk, install=install))
    if after is not None:
        dialogs.notify(trigger_words(after))


async def _trigger(desk: Desk) -> ArticleTrigger:
    async with desk.session.link.connection() as connection:
        await require_current(connection)
        return await article_trigger.status(connection)


def _trigger_confirmation(found: ArticleTrigger, *, install: bool) -> Confirmation:
    lines = [trigger_words(found)]
    if not install:
        lines.append("Its tasks stay. Later saves are queued only by the saving program, or by a backfill.")
        return Confirmation("Remove the trigger from the table articles?", lines, "Remove", danger=True)
    lines.append("It queues every article that any program saves or deletes. It never makes a save fail.")
    lines.append("Installing it needs a brief lock on articles; saves wait for a second at most at a time.")
    return Confirmation("Install the trigger on the table articles?", lines, "Install")


async def _switch(desk: Desk, *, install: bool) -> ArticleTrigger:
    by = desk.options.operator
    async with desk.session.link.connection() as connection:
        if install:
            retries = desk.session.settings.max_retries
            await article_trigger.install(connection, max_attempts=retries, by=by)
        else:
            await article_trigger.remove(connection, by=by)
        return await article_trigger.status(connection)


# -- verifying


async def verify(desk: Desk) -> None:
    """Check counts and embeddings against the data, report what is wrong, and offer to repair it.

    The check is allowed in read-only mode. Call it in a Textual worker.

    Args:
        desk: Of the database.
    """
    dialogs = desk.dialogs
    title = "Comparing counts with tasks, and embeddings with articles"
    progress = Progress(title, noun="article", stop="Cancel")
    found = await dialogs.attempt(progress, lambda: _prove(desk, progress), changes=False)
    if found is None:
        return
    title = "No problems found" if found.ok else "Problems found"
    await dialogs.tell(Report(title, list(lines_of(found)), bad=not found.ok))
    if dialogs.read_only():
        return
    choices = list(_repairs(found))
    if choices:
        chosen = await ask_choice(desk.app, "What do you want to repair?", [*choices, Choice("", "Nothing")])
        if chosen == "counts":
            await _repair(desk, found)
        elif chosen == "articles":
            await run_backfill(desk)


async def _prove(desk: Desk, progress: Progress) -> Verified:
    settings = desk.session.settings
    target = await target_of(settings)
    async with desk.session.link.connection() as connection:
        return await prove(connection, settings, target.model, progress=progress.reached)


def _repairs(found: Verified) -> list[Choice[str]]:
    choices = []
    if found.drift:
        off = count(miscounted(found.drift), "task")
        choices.append(Choice("counts", f"Correct {count(len(found.drift), 'count')}", f"off by {off}"))
    if any(finding.count for finding in found.findings):
        choices.append(Choice("articles", "Queue what needs embedding", "a backfill; shows the count first"))
    return choices


async def _repair(desk: Desk, found: Verified) -> None:
    dialogs = desk.dialogs
    lines = [each.line for each in found.drift]
    lines.append("They are set to COUNT(*) while others keep writing; no task is changed.")
    title = f"Correct {count(len(found.drift), 'stored count')}?"
    if await dialogs.confirm(Confirmation(title, lines, f"Repair {len(found.drift)}")) is Decision.YES:
        repaired = await dialogs.attempt(Progress("Counting all tasks"), lambda: _recount(desk))
        if repaired is not None:
            dialogs.notify(f"{count(len(repaired), 'count')} corrected")


async def _recount(desk: Desk) -> list[Drift]:
    async with desk.session.link.connection() as connection:
        return await repair_counts(connection, desk.options.operator)
