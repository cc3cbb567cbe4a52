"""Import from the console: dry run, confirmation, storing with progress, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embedq_tui.desk import Desk
from embedq_tui.dialogs.choose import PathCompletion, ask_text
from embedq_tui.dialogs.confirm import Confirmation, Decision
from embedq_tui.dialogs.outcome import Report
from embedq_tui.dialogs.running import Progress
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.words import count
from embedq_tui.screens.priorities import ask_priority
from embedq_tui.workflows.importing import count_files, import_files
from embedq_worker.content.articles import ImportCounts, ImportOptions, StoredBatch
from embedq_worker.content.importing import MAX_FOLDER, Skipped, folder_of
from embedq_worker.schema.task_values import Priority

NAMED = 5
"""Number of skipped files that a question lists."""


@dataclass(frozen=True, slots=True)
class _Files:
    path: Path
    folder: str
    number: int


@dataclass(slots=True)
class _Done:
    """The outcome so far, which also covers an import that was stopped."""

    counts: ImportCounts = field(default_factory=ImportCounts)
    skipped: list[Skipped] = field(default_factory=list)


async def run_import(desk: Desk) -> None:
    """Ask for files, show what would happen, and import them. Call it in a Textual worker.

    Args:
        desk: Of the database.
    """
    dialogs = desk.dialogs
    if dialogs.refused() or (files := await _ask(desk)) is None:
        return
    found = _Done()
    looking = Progress("Comparing files with articles", files.number, noun="file", stop="Cancel")
    if await dialogs.attempt(looking, lambda: _store(desk, files, None, found, looking)) is None:
        return
    if not found.counts.created and not found.counts.updated:
        title = "Nothing to import"
        await dialogs.tell(Report(title, [_words(found.counts)], _rows(found.skipped)))
        return
    title = f"Priority for embedding {count(found.counts.queued, 'article')}"
    priority = await ask_priority(desk.app, title, "normal") if found.counts.queued else "normal"
    if priority is not None and await dialogs.confirm(_confirmation(files, found, priority)) is Decision.YES:
        await _carry_out(desk, files, priority)


async def _ask(desk: Desk) -> _Files | None:
    """Ask for files and a target folder, and count the files."""
    path = await ask_text(
        desk.app,
        "Import which file or folder?",
        note="Markdown, on the machine the console runs on. Folders are searched recursively.",
        placeholder="~/handbook",
        complaint=_complaint,
        suggester=PathCompletion(),
    )
    if path is None:
        return None
    folder = await ask_text(
        desk.app,
        "Into which article folder?",
        note="The articles go into this folder and its subfolders. Empty: keep the files' own folders.",
        complaint=lambda text: "" if len(text) <= MAX_FOLDER else f"at most {MAX_FOLDER} characters",
    )
    if folder is None:
        return None
    wanted = _whole(path)
    looking = Progress("Finding files", noun="file", stop="Cancel")
    number = await desk.dialogs.attempt(looking, lambda: count_files([wanted]))
    return None if number is None else _Files(wanted, folder_of(folder), number)


def _whole(text: str) -> Path:
    return Path(text).expanduser()


def _complaint(text: str) -> str:
    try:
        there = bool(text) and _whole(text).exists()
    except (OSError, RuntimeError, ValueError) as error:  # no permission, unknown user, or a NUL character
        return str(error)
    return "" if there else "no such file or folder" if text else "enter a file or a folder"


async def _store(
    desk: Desk, files: _Files, priority: Priority | None, done: _Done, progress: Progress
) -> bool:
    """Import files; without a priority, only find out what would happen."""

    def report(batch: StoredBatch) -> None:
        done.counts.add(batch)
        done.skipped.extend(batch.skipped)
        progress.reached(progress.done + len(batch.articles) + len(batch.skipped))

    retries = desk.session.settings.max_retries
    options = ImportOptions(desk.options.operator, retries, priority or "normal", dry_run=priority is None)
    async with desk.session.link.connection() as connection:
        await import_files(connection, [files.path], files.folder, options, report)
    return True


def _confirmation(files: _Files, found: _Done, priority: Priority) -> Confirmation:
    counts = found.counts
    lines = [_words(counts), f"To queue: {count(counts.queued, 'task')} with priority {priority}"]
    if files.folder:
        lines.append(f"Into folder {files.folder}")
    lines += [f"Skipped: {one.source}: {one.reason}" for one in found.skipped[:NAMED]]
    if (more := len(found.skipped) - NAMED) > 0:
        lines.append(f"and {more:,} more skipped")
    lines.append("Updating an article overwrites changes other programs made to it.")
    stored = counts.created + counts.updated
    return Confirmation(f"Import {count(stored, 'article')} from {files.path}?", lines, f"Import {stored:,}")


async def _carry_out(desk: Desk, files: _Files, priority: Priority) -> None:
    dialogs, done = desk.dialogs, _Done()
    progress = Progress(f"Importing {count(files.number, 'file')}", files.number, noun="file")
    ended = await dialogs.attempt(progress, lambda: _store(desk, files, priority, done, progress))
    if ended is None:
        if progress.done or progress.stopping:
            title = f"{'Stopped' if progress.stopping else 'Failed'}: {progress.done:,} files read"
            stays = f"What is imported stays. Press {key('articles.import')} to continue with the rest."
            lines = [_words(done.counts), stays]
            await dialogs.tell(Report(title, lines, _rows(done.skipped), bad=not progress.stopping))
    elif done.skipped:
        stored = count(done.counts.created + done.counts.updated, "article")
        await dialogs.tell(Report(f"{stored} imported", [_words(done.counts)], _rows(done.skipped)))
    else:
        dialogs.notify(_words(done.counts))


def _words(counts: ImportCounts) -> str:
    return (
        f"{counts.created:,} created, {counts.updated:,} updated, {counts.unchanged:,} unchanged, "
        f"{counts.skipped:,} skipped; {counts.queued:,} queued"
    )


def _rows(skipped: Sequence[Skipped]) -> list[tuple[str, str]]:
    return [(one.source, one.reason) for one in skipped]
