"""Keeping what a screen shows: asks for a file and writes it, with progress where it takes its time."""

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
    """Ask for a file and write rows to it. Call it in a worker of Textual.

    Args:
        console: Where it is asked for.
        what: For the name of the file: ``tasks``.
        pages: Of rows, all with the same fields.
        total: How many rows there are; None where nobody knows.
    """
    note = "CSV or JSON by the end of the name; it is never written over"
    name = await _ask_name(console, f"Export {what} to", what, ROWS, note)
    if name is None:
        return
    try:
        path = path_of(name)
        rows = await _write(console, path, pages, Progress(f"Writing {name}", total, noun="row"))
    except Stopped:
        console.notify("Stopped: nothing is left of the file", markup=False)
    except EmbedqError as error:
        console.notify(printable(str(error)), title="Not exported", severity="error", markup=False)
    else:
        console.notify(f"{rows:,} rows written to {path.absolute()}", markup=False)


async def keep_picture(console: Console) -> None:
    """Ask for a file and write a picture of what is shown. Call it in a worker of Textual.

    Args:
        console: Its topmost screen is what is shown.
    """
    picture = settled(console.export_screenshot())  # before the question is in it
    name = await _ask_name(console, "Save a picture to", "embedq", PICTURE, "SVG; it is never written over")
    if name is None:
        return
    try:
        path = path_of(name, PICTURE)
        save(path, picture)
    except EmbedqError as error:
        console.notify(printable(str(error)), title="Not saved", severity="error", markup=False)
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
