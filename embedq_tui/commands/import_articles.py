"""`embedq-tui import`: import Markdown files as articles and queue them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from embedq_tui.commands.invocation import (
    Invocation,
    NamedPath,
    TextValue,
    operator,
    operator_command,
    priority_option,
)
from embedq_tui.commands.output import Bar, print_json, progress, say
from embedq_tui.workflows.importing import count_files, import_files
from embedq_worker.configuration.settings import Settings
from embedq_worker.content.articles import ImportCounts, ImportOptions, StoredBatch
from embedq_worker.content.importing import MAX_FOLDER, Skipped, folder_of
from embedq_worker.database.connections import connected
from embedq_worker.errors import EmbedqError, ExitCode
from embedq_worker.process.running import run
from embedq_worker.schema.task_values import Priority


@click.command("import", epilog="Example: embedq-tui import docs/ --folder handbook --dry-run")
@click.argument("paths", nargs=-1, required=True, type=NamedPath(path_type=Path), metavar="PATH..")
@click.option("--dry-run", is_flag=True, help="Show what would happen, file by file; write nothing.")
@click.option(
    "--folder",
    type=TextValue(or_none=True),
    metavar="FOLDER",
    help="Put the articles into this folder and its subfolders.",
)
@priority_option("normal")
@operator_command
def command(
    invocation: Invocation, paths: tuple[Path, ...], dry_run: bool, folder: str | None, priority: Priority
) -> ExitCode:
    """Import Markdown files, or folders of them, as articles, and queue those that need embedding.

    An existing article is recognised by its slug, taken from the front matter or the file name: it is updated
    in place, or left alone if nothing changed. Safe to run again if interrupted. Exits 1 if no file could be
    imported.
    """
    settings = invocation.settings()
    prefix = folder_of(folder or "")
    if len(prefix) > MAX_FOLDER:
        raise click.BadParameter(f"must be at most {MAX_FOLDER} characters", param_hint="--folder")
    options = ImportOptions(operator(), settings.max_retries, priority, dry_run)
    counts, skipped = ImportCounts(), list[Skipped]()

    def report(batch: StoredBatch, bar: Bar) -> None:
        counts.add(batch)
        skipped.extend(batch.skipped)
        if not invocation.as_json:
            _report(batch, bar, dry_run)

    try:
        run(_import(settings, paths, prefix, options, report))
    except (KeyboardInterrupt, EmbedqError):
        if counts.stored and not dry_run:
            _outcome(invocation, counts, skipped, "Interrupted: ", dry_run=dry_run)
        raise
    _outcome(invocation, counts, skipped, dry_run=dry_run)
    return ExitCode.OK if counts.stored else ExitCode.NO


def _outcome(
    invocation: Invocation, counts: ImportCounts, skipped: list[Skipped], so_far: str = "", *, dry_run: bool
) -> None:
    if invocation.as_json:
        print_json(
            {
                "dry_run": dry_run,
                "created": counts.created,
                "updated": counts.updated,
                "unchanged": counts.unchanged,
                "queued": counts.queued,
                "skipped": skipped,
            }
        )
    else:
        _summary(counts, so_far, dry_run=dry_run)


async def _import(
    settings: Settings,
    paths: tuple[Path, ...],
    prefix: str,
    options: ImportOptions,
    report: Callable[[StoredBatch, Bar], None],
) -> None:
    files, done = await count_files(paths), 0
    async with connected(settings) as connection:
        with progress("Files read", files) as bar:

            def batch_done(batch: StoredBatch) -> None:
                nonlocal done
                done += len(batch.articles) + len(batch.skipped)
                bar.reached(done)
                report(batch, bar)

            await import_files(connection, paths, prefix, options, batch_done)


def _report(batch: StoredBatch, bar: Bar, dry_run: bool) -> None:
    """List every file in a dry run; otherwise only the skipped ones."""
    if dry_run:
        for article in batch.articles:
            note = ", to be embedded" if article.queued else ""
            bar.say(f"{article.outcome:<9}  {article.slug}{note}  ({article.source})")
    for item in batch.skipped:
        bar.say(f"skipped    {item.source}: {item.reason}", error=not dry_run)


def _summary(counts: ImportCounts, so_far: str, *, dry_run: bool) -> None:
    would = "Would be " if dry_run else so_far
    numbers = (
        f"created {counts.created:,}, updated {counts.updated:,}, unchanged {counts.unchanged:,}, "
        f"skipped {counts.skipped:,}; queued {counts.queued:,}"
    )
    say(f"{would}{numbers}" if would else numbers.capitalize(), error=bool(so_far))
