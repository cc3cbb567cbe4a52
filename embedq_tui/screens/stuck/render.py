"""Stuck tasks as lines and table rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

from rich.text import Text

from embedq_tui.rendering.keys import key
from embedq_tui.rendering.styles import BAD, DOUBTFUL, GOOD, HEAD, PRIORITY_STYLES, QUIET
from embedq_tui.rendering.words import article_of, count
from embedq_tui.widgets.rows import Aged, Column, Row
from embedq_worker.insights.overview import Liveness
from embedq_worker.insights.stuck import StuckReason, StuckTask, StuckTasks, StuckWorker
from embedq_worker.queue.wanted import Stuck
from embedq_worker.text import age, printable_line

NAMED = 4
"""Number of workers to list by name."""

COLUMNS = (
    Column("age", "Claimed", 11),
    Column("why", "Why", 14),
    Column("worker", "Worker", 18),
    Column("attempts", "Tries", 5, hidden_below=72),
    Column("operation", "Kind", 6, hidden_below=90),
    Column("article", "Article", 0),
    Column("priority", "Priority", 8, hidden_below=110),
    Column("task", "Task", 36, hidden_below=140),
)

_REASONS = {StuckReason.WORKER_GONE: BAD, StuckReason.WORKER_SILENT: BAD, StuckReason.TOO_OLD: DOUBTFUL}


def row_of(task: StuckTask) -> Row:
    """A task as a table row; the age is that of its claim."""
    why = task.reason.value
    if task.reason is StuckReason.TOO_OLD and task.liveness is Liveness.ALIVE:
        why = f"{why}, alive"
    cells = (
        Aged(task.claimed_at, age),
        Text(why, _REASONS[task.reason]),
        Text(_place(task.worker, task.worker_place)),
        Text(f"{task.attempts}/{task.max_attempts}"),
        Text(printable_line(task.operation)),
        Text(printable_line(article_of(task))),
        Text(task.priority, PRIORITY_STYLES.get(task.priority, "")),
        Text(str(task.id), QUIET),
    )
    return Row(str(task.id), cells)


def head(found: StuckTasks, *, served: bool, chosen_here: bool) -> Iterator[Text]:
    """The lines above the table: what is stuck, who holds it, what counts as stuck, and what to expect.

    Args:
        found: The stuck tasks.
        served: Workers are running.
        chosen_here: The maximum age was chosen on this screen.
    """
    if found.total:
        text = Text.assemble((f"{count(found.total, 'stuck task')}", f"{HEAD} {BAD}"), ": ")
        named = found.workers[:NAMED]
        for place, worker in enumerate(named):
            text.append(", " if place else "")
            text.append(f"{worker.tasks:,} held by {_place(worker.worker, worker.worker_place)}")
            text.append(f" ({worker.liveness.value})" if worker.liveness else "")
        if more := len(found.workers) - len(named):
            text.append(f", others by {count(more, 'more worker')}")
        yield text
    else:
        yield Text("No stuck tasks.", f"{HEAD} {GOOD}")
    yield Text(counts_as(Stuck(found.older_than_s, found.silent_after_s), chosen_here=chosen_here), QUIET)
    if found.total and not served:
        yield Text(
            f"No worker is running, so nothing will release them but you ({key('stuck.reset_all')}).",
            DOUBTFUL,
        )
    if found.total > len(found.tasks):
        yield Text(
            f"Showing the {len(found.tasks):,} oldest claims; {key('stuck.reset_all')} resets all of them.",
            QUIET,
        )


def counts_as(by: Stuck, *, chosen_here: bool) -> str:
    """The definition of stuck, in words."""
    chosen = " (set here)" if chosen_here else ""
    return (
        f"Stuck: claims older than {age(by.older_s)}{chosen}, "
        f"or by workers silent for {age(by.silent_s)}  ({key('stuck.minutes')}: change)"
    )


def scope_of(held: Iterable[StuckWorker | StuckTask]) -> str:
    """Stuck tasks in words, for a question: ``stuck tasks of 2 workers``.

    Args:
        held: The tasks, or the workers that hold them.
    """
    places = {one.worker: _place(one.worker, one.worker_place) for one in held}
    other = places.pop(None, None)
    ours = count(len(places), "worker") if len(places) > 1 else next(iter(places.values()), None)
    names = " and ".join(filter(None, (ours, other)))
    return f"stuck tasks of {names}" if names else "stuck tasks"


def _place(worker: UUID | None, place: str | None) -> str:
    if worker is None:
        return "another program"
    return printable_line(place, 40) if place else f"worker {str(worker)[:8]}"
