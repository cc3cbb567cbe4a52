"""Exports and screenshots: asks for a file name and writes the file, with progress if it takes long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from embedq_tui.dialogs.choose import ask_text
from embedq_tui.dialogs.running import Progress, Stopped
from embedq_tui.rendering.export import PICTURE, ROWS, Export, default_name, path_of, save
from embedq_tui.rendering.picture import settled
from embedq_worker.errors import EmbedqError, UsageError
from embedq_worker.text import printable

if TYPE_CHECKING:
    from embedq_tui.console.app import Console


async def export(
    console: Console, what: str, pages: AsyncIterator[Sequence[object]], *, total: int | None = None
) -> None:
    """Ask for a file name and write rows to the file. Call it in a Textual worker.

    Args:
        console: The console.
        what: Used in the default file name: ``tasks``.
        pages: Pages of rows, all with the same fields.
        total: Number of rows; None if unknown.
    """
    note = "Ends in .csv or .json. An existing file is never overwritten."
    name = await _ask_name(console, f"Export {what} to", what, ROWS, note)
    if name is None:
        return
    try:
        path = path_of(name)
        rows = await _write(console, path, pages, Progress(f"Writing {name}", total, noun="row"))
    except Stopped:
        console.notify("Export stopped; the incomplete file was removed", markup=False)
    except EmbedqError as error:
        console.notify(printable(str(error)), title="Export failed", severity="error", markup=False)
    else:
        console.notify(f"{rows:,} rows written to {path.absolute()}", markup=False)


async def keep_picture(console: Console) -> None:
    """Ask for a file name and save a screenshot. Call it in a Textual worker.

    Args:
        console: Its topmost screen is captured.
    """
    picture = settled(console.export_screenshot())  # captured before the question covers it
    name = await _ask_name(
        console, "Save screenshot to", "embedq", PICTURE, "SVG. An existing file is never overwritten."
    )
    if name is None:
        return
    try:
        path = path_of(name, PICTURE)
        save(path, picture)
    except EmbedqError as error:
        console.notify(printable(str(error)), title="Screenshot failed", severity="error", markup=False)
    else:
        console.notify(f"Saved to {path.absolute()}", markup=False)


async def _ask_name(
    console: Console, question: str, what: str, suffixes: Sequence[str], note: str
) -> str | None:
    now = console.session.store.now() or datetime.now().astimezone()
    name = default_name(what, now, suffixes[0])
    complaint = partial(_complaint, suffixes)
    return await ask_text(console, question, value=name, note=note, complaint=complaint)


async def _write(
    console: Console, path: Path, pages: AsyncIterator[Sequence[object]], progress: Progress
) -> int:
    async def write(progress: Progress) -> int:
        with Export(path) as out:
            async for page in pages:
                out.add(page)
                progress.reached(out.rows)
            return out.rows

    return await console.dialogs.watch(progress, write)


def _complaint(suffixes: Sequence[str], text: str) -> str:
    try:
        path_of(text, suffixes)
    except UsageError as error:
        return error.message
    return ""
