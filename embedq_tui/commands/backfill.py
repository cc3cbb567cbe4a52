"""`embedq-tui backfill`: queue the articles that need embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from uuid import UUID

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import (
    FolderValue,
    Invocation,
    Number,
    TextValue,
    operator,
    operator_command,
    priority_option,
)
from embedq_tui.commands.output import SoFar, confirm, print_json, progress, say
from embedq_tui.filters.article_filter import matching
from embedq_tui.rendering.words import count
from embedq_tui.workflows.backfilling import WORDS, Planned, plan_backfill, plan_lines, target_of
from embedq_worker.actions import backfill, bulk
from embedq_worker.actions.backfill import PAGE, BackfillOptions, BackfillRun
from embedq_worker.actions.bulk import Operation
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import connected
from embedq_worker.errors import EmbedqError, ExitCode
from embedq_worker.process.running import run
from embedq_worker.schema.needs import Category
from embedq_worker.schema.task_values import STATUSES, Priority
from embedq_worker.text import age


class Categories(click.ParamType[frozenset[Category]]):
    """A list such as ``missing,stale,no-rag``."""

    name = "list"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> frozenset[Category]:
        """Read the list."""
        words = [word.strip().replace("-", "_") for word in str(value).split(",")]
        try:
            return frozenset(Category(word) for word in words)
        except ValueError:
            known = ", ".join(category.replace("_", "-") for category in WORDS)
            self.fail(f"{value!r}: expected a comma-separated list of {known}", param, ctx)


@click.group("backfill", invoke_without_command=True, epilog="Example: embedq-tui backfill --dry-run")
@click.option("--dry-run", is_flag=True, help="Only show what would be queued.")
@click.option("--yes", is_flag=True, help="Skip the confirmation.")
@priority_option("low")
@click.option(
    "--batch-size",
    type=Number(1, 10_000),
    default=PAGE,
    metavar="N",
    show_default=True,
    help="Articles examined per transaction.",
)
@click.option(
    "--only",
    "categories",
    type=Categories(),
    metavar="LIST",
    help="Any of missing,failed,stale,model,no-rag.  [default: all]",
)
@click.option("--folder", type=FolderValue(), metavar="FOLDER", help="Only this folder and its subfolders.")
@click.option("--text", type=TextValue(), metavar="TEXT", help="Only slugs or titles that contain it.")
@operator_command
def command(
    invocation: Invocation,
    dry_run: bool,
    yes: bool,
    priority: Priority,
    batch_size: int,
    categories: frozenset[Category] | None,
    folder: str | None,
    text: str | None,
) -> ExitCode:
    """Queue the articles whose embeddings are missing, out of date, or made by another model.

    Shows how many there are, asks for confirmation, and queues them in batches. Ctrl-C stops it between
    batches; run again, it resumes and queues nothing twice. Old embeddings stay until new ones exist.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return ExitCode.OK
    settings = invocation.settings()
    options = partial(
        BackfillOptions,
        max_attempts=settings.max_retries,
        categories=categories or frozenset(Category),
        priority=priority,
        batch_size=batch_size,
        folder=folder or "",
        text=text or "",
    )
    planned = run(_plan(settings, options))
    if not invocation.as_json:
        for line in plan_lines(planned):
            say(line)
    if dry_run or not planned.tasks:
        _document(invocation, planned, None, dry_run=dry_run)
        return ExitCode.OK
    if not yes and not confirm(f"Queue {count(planned.tasks, 'task')} with priority {priority}?"):
        _document(invocation, planned, None, dry_run=False, unbegun="refused")
        return ExitCode.NO
    so_far = SoFar[BackfillRun | None](None)
    try:
        ended = run(_run(settings, planned, so_far))
    except (KeyboardInterrupt, EmbedqError):
        if so_far.value:
            _document(invocation, planned, replace(so_far.value, state="interrupted"), dry_run=False)
        raise
    _document(invocation, planned, ended, dry_run=False)
    return ExitCode.OK if ended.state == "done" else ExitCode.NO


async def _plan(settings: Settings, options: Callable[[str], BackfillOptions]) -> Planned:
    target = await target_of(settings)
    async with connected(settings) as connection:
        with progress("Articles examined") as bar:
            return await plan_backfill(connection, settings, target, options(target.model), bar.reached)


async def _run(settings: Settings, planned: Planned, so_far: SoFar[BackfillRun | None]) -> BackfillRun:
    async with connected(settings) as connection:
        with progress("Tasks queued", planned.tasks) as bar:

            def report(run: BackfillRun) -> None:
                so_far.value = run
                bar.reached(run.queued)

            return await backfill.run(
                connection, planned.options, by=operator(), planned=planned.tasks, progress=report
            )


def _document(
    invocation: Invocation,
    planned: Planned,
    ended: BackfillRun | None,
    *,
    dry_run: bool,
    unbegun: str = "planned",
) -> None:
    """The outcome, as JSON or as a line."""
    if invocation.as_json:
        wanted = planned.wanted
        print_json(
            {
                "dry_run": dry_run,
                "model": planned.options.model,
                "articles": planned.plan.articles,
                "categories": {category.value: planned.plan.counts[category] for category in Category},
                "to_queue": wanted.to_queue,
                "chunks": wanted.chunks,
                "requests": planned.requests,
                "operation_id": ended.operation_id if ended else None,
                "state": ended.state if ended else unbegun,
                "resumed": ended.resumed if ended else False,
                "queued": ended.queued if ended else 0,
            }
        )
    elif unbegun == "refused":
        say("Nothing was queued.")
    elif ended and ended.state == "interrupted":
        say(
            f"Interrupted: {ended.queued:,} of {count(planned.tasks, 'task')} queued "
            f"({ended.operation_id}); run it again to resume, or undo it: embedq-tui backfill rollback",
            error=True,
        )
    elif ended:
        words = "resumed and " if ended.resumed else ""
        say(f"{count(ended.queued, 'task')} queued; {words}{ended.state} ({ended.operation_id})")


@command.command("status", epilog="Example: embedq-tui backfill status --json")
@click.argument("operation", type=click.UUID, required=False, metavar="[ID]")
@operator_command
def status(invocation: Invocation, operation: UUID | None) -> None:
    """Show the progress of the last backfill, or of the one given."""
    found = _status(invocation.settings(), operation)
    if invocation.as_json:
        print_json(found)
        return
    say(f"Backfill {found.id}: {found.state}")
    say(f"  started {found.started_at.astimezone():%Y-%m-%d %H:%M:%S} by {found.by}")
    if scope := matching(found.filter):
        say(f"  only {scope}")
    say(f"  queued {found.queued:,} of {found.planned:,} planned, last activity {age(found.silent_s)} ago")
    for name in STATUSES:
        say(f"  {name:<10} {found.tasks.get(name, 0):>9,}")


def _status(settings: Settings, operation: UUID | None) -> Operation:
    found = ask(settings, lambda connection: bulk.status(connection, operation))
    if found is None:
        raise EmbedqError("there is no such backfill" if operation else "no backfill has run yet")
    return found


@command.command("rollback", epilog="Example: embedq-tui backfill rollback --yes")
@click.argument("operation", type=click.UUID, required=False, metavar="[ID]")
@click.option("--yes", is_flag=True, help="Skip the confirmation.")
@operator_command
def rollback(invocation: Invocation, operation: UUID | None, yes: bool) -> ExitCode:
    """Remove the tasks of the last backfill, or of the one given, that are still pending.

    Tasks that are processing or completed stay.
    """
    settings = invocation.settings()
    found = _status(settings, operation)
    pending = found.tasks.get("pending", 0)
    question = f"Remove {count(pending, 'pending task')} of backfill {found.id}?"
    if pending and not yes and not confirm(question):
        _report_removed(invocation, found.id, None)
        return ExitCode.NO
    so_far = SoFar(0)
    try:
        removed = run(_rollback(settings, found.id, pending, so_far))
    except (KeyboardInterrupt, EmbedqError):
        if so_far.value:
            _report_removed(invocation, found.id, so_far.value, "; run it again to resume")
        raise
    _report_removed(invocation, found.id, removed)
    return ExitCode.OK


def _report_removed(invocation: Invocation, operation: UUID, removed: int | None, more: str = "") -> None:
    """The outcome; None if it was refused."""
    if invocation.as_json:
        print_json({"operation_id": operation, "removed": removed or 0})
    elif removed is None:
        say("Nothing was removed.")
    else:
        say(f"{count(removed, 'task')} removed{more}", error=bool(more))


async def _rollback(settings: Settings, operation: UUID, pending: int, so_far: SoFar[int]) -> int:
    async with connected(settings) as connection:
        with progress("Tasks removed", pending) as bar:

            def report(removed: int) -> None:
                so_far.value = removed
                bar.reached(removed)

            return await bulk.rollback(connection, operation, by=operator(), progress=report)
