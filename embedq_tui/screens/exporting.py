"""Exporting what a screen shows: asks for a file and writes it, with progress where it takes its time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from embedq_tui.dialogs.choose import ask_text
from embedq_tui.dialogs.running import Progress, Stopped
from embedq_tui.rendering.export import Export, default_name, path_of
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
        pages: Of rows: dataclasses or mappings, all with the same fields.
        total: How many rows there are; None where nobody knows.
    """
    now = console.session.store.now() or datetime.now().astimezone()
    name = await ask_text(
        console,
        f"Export {what} to",
        value=default_name(what, now),
        note="CSV or JSON by the end of the name; it is never written over",
        complaint=_complaint,
    )
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


def _complaint(text: str) -> str:
    try:
        path_of(text)
    except UsageError as error:
        return error.message
    return ""
