"""A worker as a table row."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from rich.text import Text

from embedq_tui.rendering.styles import BAD, GOOD, NAME, QUIET
from embedq_tui.widgets.keyed_table import Column, Row
from embedq_worker.insights.overview import Liveness, WorkerRow
from embedq_worker.text import age, printable_line

COLUMNS = (
    Column("place", "Host/pid", 20),
    Column("state", "State", 8),
    Column("beat", "Beat", 6, right=True),
    Column("in_hand", "Held", 5, right=True),
    Column("at_once", "At once", 7, right=True),
    Column("done", "Done", 9, right=True),
    Column("failed", "Failed", 7, right=True),
    Column("up", "Up", 9, least=90, right=True),
    Column("version", "Version", 8, least=140),
    Column("provider", "Provider", 30, least=140),
    Column("note", "Note", 0, least=105),
)


def worker_row(worker: WorkerRow, now: datetime, ours: UUID | None) -> Row:
    """A row of the list of workers.

    Args:
        worker: Its texts may hold anything.
        now: The database's time.
        ours: Id of this console's worker.
    """
    alive = worker.liveness is Liveness.ALIVE
    note = worker.note or ", ".join(
        f"{name}={worker.settings[name]}" for name in ("priorities", "folders") if worker.settings.get(name)
    )
    return Row(
        str(worker.id),
        (
            Text(printable_line(f"{worker.host}/{worker.pid}", 20), NAME if worker.id == ours else ""),
            Text(worker.state if alive else worker.liveness.value, GOOD if alive else BAD),
            _right(age((now - worker.heartbeat_at).total_seconds()), 6),
            _right(f"{worker.in_hand:,}", 5),
            _right(printable_line(str(worker.settings.get("concurrency", "-")), 7), 7),
            _right(f"{worker.succeeded:,}", 9),
            Text(f"{worker.failed:,}".rjust(7), BAD if worker.failed else ""),
            _right(age((now - worker.started_at).total_seconds()), 9),
            Text(printable_line(worker.version, 8), QUIET),
            Text(printable_line(worker.provider, 30), QUIET),
            Text(printable_line(note)),
        ),
    )


def _right(text: str, width: int) -> Text:
    return Text(text.rjust(width))
