"""Exports and screenshots: asks for a file name and writes the file, with progress if it takes long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from embedq_tui.desk import Desk
from embedq_tui.dialogs.choose import ask_text
from embedq_tui.dialogs.running import Progress, Stopped
from embedq_tui.rendering.export import PICTURE, ROWS, default_name, export_to, path_of, save
from embedq_tui.rendering.picture import settled
from embedq_worker.errors import UsageError


async def export(
    desk: Desk, what: str, pages: AsyncIterator[Sequence[object]], *, total: int | None = None
) -> None:
    """Ask for a file name and write rows to the file. Call it in a Textual worker.

    Args:
        desk: Of the database.
        what: Used in the default file name: ``tasks``.
        pages: Pages of rows, all with the same fields.
        total: Number of rows; None if unknown.
    """
    note = "Ends in .csv or .json. An existing file is never overwritten."
    name = await _ask_name(desk, f"Export {what} to", what, ROWS, note)
    if name is None:
        return
    dialogs = desk.dialogs
    with dialogs.telling("Export failed"):
        path, progress = path_of(name), Progress(f"Writing {name}", total, noun="row")
        try:
            rows = await dialogs.watch(progress, lambda: _write(path, pages, progress))
        except Stopped:
            dialogs.notify("Export stopped; the incomplete file was removed")
        else:
            dialogs.notify(f"{rows:,} rows written to {path.absolute()}")


async def keep_picture(desk: Desk) -> None:
    """Ask for a file name and save a screenshot. Call it in a Textual worker.

    Args:
        desk: The topmost screen of its application is captured.
    """
    picture = settled(desk.app.export_screenshot())  # captured before the question covers it
    name = await _ask_name(
        desk, "Save screenshot to", "embedq", PICTURE, "SVG. An existing file is never overwritten."
    )
    if name is None:
        return
    with desk.dialogs.telling("Screenshot failed"):
        path = path_of(name, PICTURE)
        save(path, picture)
        desk.dialogs.notify(f"Saved to {path.absolute()}")


async def _ask_name(desk: Desk, question: str, what: str, suffixes: Sequence[str], note: str) -> str | None:
    now = desk.session.store.now() or datetime.now().astimezone()
    name = default_name(what, now, suffixes[0])
    complaint = partial(_complaint, suffixes)
    return await ask_text(desk.app, question, value=name, note=note, complaint=complaint)


async def _write(path: Path, pages: AsyncIterator[Sequence[object]], progress: Progress) -> int:
    with export_to(path) as out:
        async for page in pages:
            out.add(page)
            progress.reached(out.rows)
        return out.rows


def _complaint(suffixes: Sequence[str], text: str) -> str:
    try:
        path_of(text, suffixes)
    except UsageError as error:
        return error.message
    return ""
