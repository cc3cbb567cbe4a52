"""The progress of a running operation, and a way to stop it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from rich.text import Text
from textual.app import App, RenderResult
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Button, Static

from embedq_tui.dialogs.dialog import DatabaseLabel, SeenFirst, button, show, text_of, with_key
from embedq_tui.rendering.words import count
from embedq_worker.errors import EmbedqError
from embedq_worker.text import age

T = TypeVar("T")

SHOW_AFTER_S = 0.3
"""Seconds an operation may take without showing a dialog."""

DRAW_EVERY_S = 0.1


class Stopped(EmbedqError):
    """The operator stopped it."""


@dataclass(slots=True)
class Progress:
    """The progress of an operation: the work updates it, the dialog polls it.

    Attributes:
        title: What is being done.
        total: The number to reach; None if unknown.
        noun: What is counted, in the singular.
        done: The number reached.
        steps: Number of batches reported.
        lines: Further lines to show.
        stop: Label of the button.
        stopping: It was stopped and is about to end.
    """

    title: str
    total: int | None = None
    noun: str = "task"
    done: int = 0
    steps: int = 0
    lines: list[str] = field(default_factory=list)
    stop: str = "Stop"
    stopping: bool = False
    began: float = field(default_factory=time.monotonic)

    def reached(self, done: int) -> None:
        """Report that a batch is done."""
        self.done, self.steps = done, self.steps + 1


async def watch(
    app: App[Any],
    progress: Progress,
    work: Callable[[], Awaitable[T]],
    *,
    database: DatabaseLabel | None = None,
    show_after_s: float = SHOW_AFTER_S,
) -> T:
    """Run an operation, with a progress dialog if it takes long. Call it in a Textual worker.

    Args:
        app: The application to show the dialog in.
        progress: Updated by the work.
        work: The operation; it may be cancelled at any time.
        database: The database to name in the dialog.
        show_after_s: Seconds after which the dialog appears.

    Returns:
        The work's result.

    Raises:
        Stopped: The operator stopped it.
        Exception: Whatever the work raised.
    """
    task = asyncio.ensure_future(work())
    task.add_done_callback(_looked_at)
    try:
        await asyncio.wait([task], timeout=show_after_s)
        if not task.done():
            await show(app, Running(progress, task, database))
    except asyncio.CancelledError:
        # The caller is gone: end as if the operator had stopped it.
        if not progress.stopping:
            progress.stopping = True
            task.cancel()
        await asyncio.wait([task])
        raise
    if task.cancelled():
        raise Stopped("stopped")
    return task.result()


def _looked_at(task: asyncio.Future[Any]) -> None:
    """Mark its error as retrieved: if the caller is gone, asyncio must not write it to the terminal."""
    if not task.cancelled():
        task.exception()


class _Bar(Widget):
    DEFAULT_CSS = "_Bar { height: 1; width: 1fr; }"

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._done = 0

    def draw(self) -> None:
        """Update to the number reached, together with the text below."""
        if self._done != self._progress.done:
            self._done = self._progress.done
            self.refresh()

    def render(self) -> RenderResult:
        return bar(self._done, self._progress.total, self.size.width)


class Running(SeenFirst[None]):
    """Shows the progress of an operation until it ends.

    Args:
        progress: Its progress.
        task: The operation. Stopping cancels it only once: it need not survive a second cancellation.
        database: The database it concerns.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "give_up", "Stop", show=False, id="running.stop", priority=True),
    ]

    def __init__(
        self, progress: Progress, task: asyncio.Future[Any], database: DatabaseLabel | None = None
    ) -> None:
        super().__init__(progress.title, database)
        self._progress = progress
        self._work = task

    def lines(self) -> Iterable[Widget]:
        """The bar and the numbers."""
        known = [_Bar(self._progress)] if self._progress.total else []
        return [*known, Static(id="numbers"), Static(id="more")]

    def buttons(self) -> Sequence[Button]:
        """A button to stop it."""
        return [button(with_key(self._progress.stop, "dialog.back"), "stop")]

    def on_mount(self) -> None:
        """Begin polling."""
        super().on_mount()
        self.set_focus(self.query_one("#stop"))
        self._draw()
        self.set_interval(DRAW_EVERY_S, self._draw)

    def action_give_up(self) -> None:
        """Stop it; it ends once the current step is finished."""
        if not self._progress.stopping and not self._work.done():
            self._progress.stopping = True
            self._work.cancel()
            self._draw()

    def _draw(self) -> None:
        if self._work.done():
            self.end(None)
            return
        found = self._progress
        for drawn in self.query(_Bar):
            drawn.draw()
        self.query_one("#numbers", Static).update(Text(numbers(found)))
        ending = ["Stopping once the current step is finished."] if found.stopping else []
        lines = [*found.lines, *ending]
        self.query_one("#more", Static).update(text_of("\n".join(lines)))
        self.query_one("#stop", Button).disabled = found.stopping


def bar(done: int, total: int | None, width: int) -> Text:
    """A progress bar of a given width; empty if the total is unknown."""
    if not total:
        return Text()
    room = max(width - 5, 0)
    share = min(done / total, 1.0)
    full = int(room * share)  # rounded down: full only when done
    return Text(f"{'█' * full}{'░' * (room - full)} {int(100 * share):3}%", no_wrap=True)


def numbers(progress: Progress) -> str:
    """The progress in words."""
    seconds = time.monotonic() - progress.began
    if progress.total is None:
        so_far = f"{count(progress.done, progress.noun)}, " if progress.done else ""
        return f"{so_far}{age(seconds)}"
    parts = [
        f"{progress.done:,} of {count(progress.total, progress.noun)}",
        count(progress.steps, "batch", "batches"),
    ]
    if seconds >= 1 and progress.done >= seconds:  # slower than that, it waits for something else
        parts.append(f"{progress.done / seconds:,.0f} a second")
    return ", ".join([*parts, age(seconds)])
