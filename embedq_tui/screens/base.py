"""What every screen of the console does alike: it asks, shows answers as they come, and can be frozen."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from embedq_tui.live.questions import Answer, Question
from embedq_tui.rendering.styles import DOUBTFUL, QUIET
from embedq_tui.screens.frame import alert, tabs, title
from embedq_tui.widgets.backdrop import Backdrop
from embedq_tui.widgets.footer import Keys
from embedq_tui.widgets.lines import Line
from embedq_worker.text import printable_line

if TYPE_CHECKING:
    from embedq_tui.console.app import Console
    from embedq_tui.live.session import Session
    from embedq_tui.live.store import Store


class ConsoleScreen(Screen[None], Backdrop):
    """A screen with the frame of the console around what is its own.

    It names the questions it wants answered; they stand while it is shown. Answers to other questions (of a
    filter that was changed meanwhile) are dropped before they reach it. It holds no connection and no clock.

    Attributes:
        MODE: Name of its entry in the line of tabs.
    """

    MODE: ClassVar[str] = ""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "freeze", "Freeze", show=False, id="screen.freeze", tooltip="Keep what is shown"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._frozen_at: float | None = None
        self._held: dict[Question[Any], Answer[Any]] = {}

    # -- what a screen of its own overrides

    def body(self) -> ComposeResult:
        """Widgets between the frame's lines."""
        yield from ()

    def questions(self) -> Iterable[Question[Any]]:
        """What it wants to know now."""
        return ()

    def answered(self, answer: Answer[Any]) -> None:
        """Show the answer to one of `questions`; the first one may be of an earlier time."""

    def state_changed(self) -> None:
        """Show what changed in `store`; not called while frozen."""

    def ticked(self, now: datetime) -> None:
        """A second passed: show ages as of the database's time.

        Args:
            now: That time.
        """

    # -- what it can use

    @property
    def console(self) -> Console:
        """The application."""
        return cast("Console", self.app)

    @property
    def session(self) -> Session:
        """The database that is looked at."""
        return self.console.session

    @property
    def store(self) -> Store:
        """What is known of it."""
        return self.console.session.store

    def unknown(self, looking: str = "looking") -> Text:
        """What to say instead of what was never known: it must not look as if there were nothing.

        Args:
            looking: What is being done about it, where the database answers.
        """
        if self.store.lost is not None:
            return Text("not known: the database does not answer", DOUBTFUL)
        if self.store.error is not None:
            return Text("not known", DOUBTFUL)
        return Text(looking, QUIET)

    def ask_anew(self) -> None:
        """Say that `questions` are others now; answers that are known are shown at once."""
        if self.is_current or self.console.shown is self:
            self.console.stand(self)

    @property
    def frozen(self) -> bool:
        """Whether what is shown stays as it is."""
        return self._frozen_at is not None

    def freeze(self, frozen: bool) -> None:
        """Keep what is shown, or go on; what came meanwhile is shown then."""
        if frozen == self.frozen:
            return
        self._frozen_at = time.monotonic() if frozen else None
        self.draw_frame()
        if not frozen:
            held, self._held = self._held, {}
            for answer in held.values():
                self.take(answer)
            self.take_state()

    # -- wiring

    @property
    def alive(self) -> bool:
        """Whether its widgets are there: not before it is mounted, nor while it goes or the console ends."""
        return self.is_mounted and self.display and self.app.is_running

    def compose(self) -> ComposeResult:
        """The frame."""
        yield Line(id="title")
        yield Line(id="tabs")
        yield Line(id="alert")
        yield from self.body()
        yield Keys()

    def on_screen_resume(self) -> None:
        """It is shown: let its questions stand."""
        self.console.stand(self)

    def on_resize(self) -> None:
        """Fit the frame. Textual calls the handlers of a subclass and ours: none calls the other."""
        self.draw_frame()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """What ends by an error of ours is told: nothing fails in silence."""
        if event.state is WorkerState.ERROR:
            told = printable_line(f"{type(event.worker.error).__name__}: {event.worker.error}", 300)
            self.notify(told, title="Internal error", severity="error", markup=False)

    def action_freeze(self) -> None:
        """Keep what is shown, or go on."""
        self.freeze(not self.frozen)

    def take(self, answer: Answer[Any]) -> None:
        """Show an answer, if it is still wanted."""
        if not self.alive or answer.question not in tuple(self.questions()):
            return
        if self.frozen:
            self._held[answer.question] = answer
        else:
            self.answered(answer)

    def take_state(self) -> None:
        """Show what changed in the store."""
        self.draw_frame()
        if self.alive and not self.frozen:
            self.state_changed()

    def tick(self) -> None:
        """A second passed."""
        self._draw_what_ages()
        now = self.store.now()
        if self.alive and now is not None and not self.frozen:
            self.ticked(now)

    def draw_frame(self) -> None:
        """Draw the lines around the screen, where they changed."""
        self._draw_what_ages()
        if self.alive:
            self.query_one("#tabs", Line).say(tabs(self.MODE, self.store, self.size.width))

    def _draw_what_ages(self) -> None:
        if not self.alive:
            return
        frozen_s = None if self._frozen_at is None else time.monotonic() - self._frozen_at
        width, ascii_only = self.size.width, self.console.ascii_only
        self.query_one("#title", Line).say(
            title(self.session, width, frozen_s=frozen_s, ascii_only=ascii_only)
        )
        line, wrong = self.query_one("#alert", Line), alert(self.store, width)
        line.say(wrong)
        line.display = bool(wrong)
