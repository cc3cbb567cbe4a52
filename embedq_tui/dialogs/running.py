"""Something under way: how far it is, and a way to stop it."""

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

from embedq_tui.capabilities import ascii_only
from embedq_tui.dialogs.dialog import Place, SeenFirst, button, show, text_of
from embedq_tui.output import count
from embedq_worker.errors import EmbedqError
from embedq_worker.text import age

T = TypeVar("T")

SHOW_AFTER_S = 0.3
"""What takes less time shows no dialog."""

DRAW_EVERY_S = 0.1


class Stopped(EmbedqError):
    """The operator stopped it."""


@dataclass(slots=True)
class Progress:
    """How far something is; whoever does it tells, the dialog looks.

    Attributes:
        title: What is done.
        total: How much there is; None where nobody knows.
        noun: Of what, in the singular.
        done: So much.
        steps: Batches that were told.
        lines: What else is to be said.
        stop: Label of the button.
        stopping: It was stopped, and comes to its end.
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
        """A batch is done."""
        self.done, self.steps = done, self.steps + 1


async def watch(
    app: App[Any],
    progress: Progress,
    work: Callable[[Progress], Awaitable[T]],
    *,
    place: Place | None = None,
    show_after_s: float = SHOW_AFTER_S,
) -> T:
    """Do something, with a dialog where it takes its time. Call it in a worker of Textual.

    Args:
        app: Where the dialog is shown.
        progress: Filled by the work.
        work: Does it; bears a cancellation at any time.
        place: Named in the dialog.
        show_after_s: Seconds after which the dialog comes.

    Returns:
        What the work returned.

    Raises:
        Stopped: The operator stopped it.
        Exception: What the work raised.
    """
    task = asyncio.ensure_future(work(progress))
    task.add_done_callback(_looked_at)
    try:
        await asyncio.wait([task], timeout=show_after_s)
        if not task.done():
            await show(app, Running(progress, task, place))
    except asyncio.CancelledError:
        # Whoever waited for it is gone: it ends as if it had been stopped.
        if not progress.stopping:
            progress.stopping = True
            task.cancel()
        await asyncio.wait([task])
        raise
    if task.cancelled():
        raise Stopped("stopped")
    return task.result()


def _looked_at(task: asyncio.Future[Any]) -> None:
    """Whoever waited may be gone: that nobody looks at its error is no reason to write to the terminal."""
    if not task.cancelled():
        task.exception()


class _Bar(Widget):
    DEFAULT_CSS = "_Bar { height: 1; width: 1fr; }"

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._done = 0

    def draw(self) -> None:
        """Take what is done now, as the numbers beside it do."""
        if self._done != self._progress.done:
            self._done = self._progress.done
            self.refresh()

    def render(self) -> RenderResult:
        return bar(self._done, self._progress.total, self.size.width)


class Running(SeenFirst[None]):
    """Shows how far something is until it has ended.

    Args:
        progress: Of it.
        task: Does it; a stop cancels it, once: what bears one cancellation need not bear two.
        place: Which database it is about.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "give_up", "Stop", show=False, id="running.stop", priority=True),
    ]

    def __init__(self, progress: Progress, task: asyncio.Future[Any], place: Place | None = None) -> None:
        super().__init__(progress.title, place)
        self._progress = progress
        self._work = task

    def lines(self) -> Iterable[Widget]:
        """How far it is."""
        known = [_Bar(self._progress)] if self._progress.total else []
        return [*known, Static(id="numbers"), Static(id="more")]

    def buttons(self) -> Sequence[Button]:
        """The way out."""
        return [button(f"{self._progress.stop} (esc)", "stop")]

    def on_mount(self) -> None:
        """Look from now on."""
        super().on_mount()
        self.set_focus(self.query_one("#stop"))
        self._draw()
        self.set_interval(DRAW_EVERY_S, self._draw)

    def action_give_up(self) -> None:
        """Stop it; it ends when what is under way has ended."""
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
        ending = ["Stopping: what is under way comes to its end."] if found.stopping else []
        told = [*found.lines, *ending]
        self.query_one("#more", Static).update(text_of("\n".join(told)))
        self.query_one("#stop", Button).disabled = found.stopping


def bar(done: int, total: int | None, width: int) -> Text:
    """A bar of a width; empty where nobody knows how much there is."""
    if not total:
        return Text()
    room = max(width - 5, 0)
    share = min(done / total, 1.0)
    full = int(room * share)  # full is only what is done
    solid, hollow = ("#", ".") if ascii_only() else ("█", "░")
    return Text(f"{solid * full}{hollow * (room - full)} {int(100 * share):3}%", no_wrap=True)


def numbers(progress: Progress) -> str:
    """How far it is, in words."""
    seconds = time.monotonic() - progress.began
    if progress.total is None:
        told = f"{count(progress.done, progress.noun)}, " if progress.done else ""
        return f"{told}{age(seconds)}"
    parts = [
        f"{progress.done:,} of {count(progress.total, progress.noun)}",
        count(progress.steps, "batch", "batches"),
    ]
    if progress.done and seconds >= 1:
        parts.append(f"{progress.done / seconds:,.0f} a second")
    return ", ".join([*parts, age(seconds)])
