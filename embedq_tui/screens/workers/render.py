"""A worker as a table row, and in full."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from uuid import UUID

from rich.text import Text

from embedq_tui.rendering.lines import labelled, place_of, state_of_worker
from embedq_tui.rendering.outcomes import death_words
from embedq_tui.rendering.styles import BAD, DOUBTFUL, NAME, QUIET
from embedq_tui.rendering.words import count, moment
from embedq_tui.widgets.rows import Aged, Column, Row
from embedq_tui.widgets.text_view import wrapped
from embedq_worker import __version__
from embedq_worker.insights.deaths import DeadWorker
from embedq_worker.insights.overview import WorkerRow
from embedq_worker.text import age, printable_line

COLUMNS = (
    Column("place", "Host/pid", 20),
    Column("state", "State", 8),
    Column("beat", "Beat", 6, right=True),
    Column("in_hand", "Held", 5, right=True),
    Column("at_once", "At once", 7, right=True),
    Column("done", "Done", 9, right=True),
    Column("failed", "Failed", 7, right=True),
    Column("up", "Up", 9, hidden_below=90, right=True),
    Column("version", "Version", 8, hidden_below=140),
    Column("provider", "Provider", 30, hidden_below=140),
    Column("note", "Note", 0, hidden_below=105),
)

NOTE_LINES = 3
"""Maximum number of lines that say why a worker is idle."""


def worker_row(worker: WorkerRow, ours: UUID | None) -> Row:
    """A row of the list of workers.

    Args:
        worker: Its texts may hold anything.
        ours: Id of this console's worker.
    """
    note = worker.note or ", ".join(
        f"{name}={worker.settings[name]}" for name in ("priorities", "folders") if worker.settings.get(name)
    )
    return Row(
        str(worker.id),
        (
            Text(place_of(worker.host, worker.pid, 20), NAME if worker.id == ours else ""),
            Text(*state_of_worker(worker)),
            Aged(worker.heartbeat_at, _beat),
            Text(f"{worker.in_hand:,}"),
            Text(printable_line(str(worker.settings.get("concurrency", "-")), 7)),
            Text(f"{worker.succeeded:,}"),
            Text(f"{worker.failed:,}", BAD if worker.failed else ""),
            Aged(worker.started_at, age),
            Text(printable_line(worker.version, 8), _version_style(worker)),
            Text(printable_line(worker.provider, 30), QUIET),
            Text(printable_line(note)),
        ),
    )


def dead_row(worker: DeadWorker) -> Row:
    """A row for a worker that died lately: its age is that of its last sign of life, its time up ended there.

    Args:
        worker: Its texts may hold anything.
    """
    lived_s = (worker.heartbeat_at - worker.started_at).total_seconds()
    return Row(
        str(worker.id),
        (
            Text(place_of(worker.host, worker.pid, 20), QUIET),
            Text("dead", BAD if worker.unreturned else DOUBTFUL),
            Aged(worker.heartbeat_at, _beat, QUIET),
            Text(f"{worker.unreturned:,}", BAD if worker.unreturned else QUIET),
            Text("-", QUIET),
            Text(f"{worker.succeeded:,}", QUIET),
            Text(f"{worker.failed:,}", QUIET),
            Text(age(lived_s), QUIET),
            Text(printable_line(worker.version, 8), QUIET),
            Text(printable_line(worker.provider, 30), QUIET),
            Text(f"{death_words(worker)}; {printable_line(worker.note)}", QUIET),
        ),
    )


def dead_facts(worker: DeadWorker, now: datetime) -> Iterator[Text]:
    """When a worker died, and whether its tasks are safe.

    Args:
        worker: Its texts may hold anything.
        now: The database's time.
    """
    yield labelled("Died").append(f"{moment(worker.died_at, now)}: {printable_line(worker.note)}", DOUBTFUL)
    yield labelled("Lived").append(
        f"{age((worker.heartbeat_at - worker.started_at).total_seconds())}, "
        f"last heartbeat {moment(worker.heartbeat_at, now)}"
    )
    if worker.unreturned:
        yield labelled("Tasks").append(
            f"{death_words(worker)}: any running worker does that; open it to list them", BAD
        )
    else:
        yield labelled("Tasks").append(death_words(worker)).append("; open it to see the audit log", QUIET)
    yield labelled("Version").append(printable_line(worker.version, 40), QUIET)
    yield labelled("Provider").append(printable_line(worker.provider))
    yield labelled("Id").append(str(worker.id), QUIET)


def worker_facts(worker: WorkerRow, now: datetime, width: int) -> Iterator[Text]:
    """What the table has no room for.

    Args:
        worker: Its texts may hold anything.
        now: The database's time.
        width: Available width in cells.
    """
    label = "Idle"
    for piece in islice(wrapped(printable_line(worker.note), max(width - 10, 20)), NOTE_LINES):
        if piece:
            yield labelled(label).append(piece, DOUBTFUL)
        label = ""
    held = f"holds {count(worker.in_hand, 'task')}"
    yield labelled("Worker").append(f"{held}, started {moment(worker.started_at, now)}")
    version = labelled("Version").append(printable_line(worker.version, 40), _version_style(worker))
    yield (
        version
        if worker.version == __version__
        else version.append(f"; this console is {__version__}", QUIET)
    )
    yield labelled("Provider").append(printable_line(worker.provider))
    yield labelled("Settings").append(
        printable_line(
            ", ".join(f"{name}={value}" for name, value in worker.settings.items() if name not in _IN_KEY)
        )
    )
    yield labelled("Id").append(str(worker.id), QUIET)


_IN_KEY = ("model", "endpoint")
"""Settings that the key of the provider shows already."""


def _version_style(worker: WorkerRow) -> str:
    return QUIET if worker.version == __version__ else DOUBTFUL


def _beat(seconds: float) -> str:
    return age(seconds) if seconds > -1 else "future"
