"""What every console screen has in common: it asks questions, shows the answers, and can be frozen."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast
from uuid import UUID

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from embedq_tui.desk import Desk
from embedq_tui.live.questions import Answer, Question
from embedq_tui.rendering.styles import DOUBTFUL, QUIET
from embedq_tui.screens.frame import alert, tab_at, tabs, title
from embedq_tui.widgets.backdrop import Backdrop
from embedq_tui.widgets.footer import Keys
from embedq_tui.widgets.lines import Line
from embedq_tui.widgets.text_view import TextView
from embedq_worker.text import printable_line

if TYPE_CHECKING:
    from embedq_tui.live.session import Session
    from embedq_tui.live.store import Store


class Host(Protocol):
    """The application, as far as its screens know it."""

    @property
    def desk(self) -> Desk:
        """For the current database."""

    @property
    def shown(self) -> ConsoleScreen | None:
        """The topmost console screen, below any dialogs."""

    def subscribe(self, screen: ConsoleScreen) -> None:
        """Subscribe to a screen's questions, and give it the answers already known."""

    def action_show(self, name: str) -> None:
        """Show the screen of this name."""

    def show_task(self, task: UUID) -> None:
        """Show a task's details on top of the current screen."""

    def show_article(self, article: int) -> None:
        """Show an article's details on top of the current screen."""


class ConsoleScreen(Screen[None], Backdrop):
    """A screen with the console's frame around its own content.

    It names its questions, which are asked for as long as it is shown. Answers to other questions (such as a
    previous filter's) are dropped before they reach it. It has no connection and no clock of its own.

    Attributes:
        MODE: Name of its entry in the line of tabs.
    """

    MODE: ClassVar[str] = ""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "f", "freeze", "Freeze", show=False, id="screen.freeze", tooltip="Freeze or unfreeze the display"
        )
    ]

    def __init__(self) -> None:
        super().__init__()
        self._frozen_at: float | None = None
        self._held: dict[Question[Any], Answer[Any]] = {}
        self._awaited: dict[Question[Any], float] = {}
        self._offered: tuple[object, ...] = ()

    # -- for subclasses to override

    def body(self) -> ComposeResult:
        """The widgets inside the frame."""
        yield from ()

    def questions(self) -> Iterable[Question[Any]]:
        """The questions to ask now."""
        return ()

    def answered(self, answer: Answer[Any]) -> None:
        """Show the answer to one of `questions`; the first may be an older, remembered one."""

    def state_changed(self) -> None:
        """Show what changed in `store`; not called while frozen."""

    def ticked(self, now: datetime) -> None:
        """Update ages, once a second.

        Args:
            now: The database's time.
        """

    # -- for subclasses to use

    @property
    def console(self) -> Host:
        """The application."""
        return cast(Host, self.app)

    @property
    def desk(self) -> Desk:
        """For acting on the current database."""
        return self.console.desk

    @property
    def session(self) -> Session:
        """The session with the current database."""
        return self.desk.session

    @property
    def store(self) -> Store:
        """What is known about the current database."""
        return self.desk.session.store

    def unknown(self, looking: str = "loading") -> Text:
        """A placeholder for data that has not arrived: it must not look as if there were none.

        Args:
            looking: What to say while the database is responding.
        """
        if self.store.lost is not None:
            return Text("unknown: no connection to the database", DOUBTFUL)
        if self.store.error is not None:
            return Text("unknown", DOUBTFUL)
        return Text(looking, QUIET)

    def ask_again(self) -> None:
        """Subscribe to changed `questions`; answers already known are shown at once."""
        if self.is_current or self.console.shown is self:
            self.console.subscribe(self)

    def to_clipboard(self, text: str, told: str) -> None:
        """Copy a text, and say so.

        Args:
            text: As it is.
            told: What it is, in words or in its own; shown in one line.
        """
        self.app.copy_to_clipboard(text)
        self.notify(f"Copied: {printable_line(told, 100)}", markup=False)

    def offer(self, *state: object) -> None:
        """Update the offered actions if they may have changed: rebuilding the footer is not free.

        Args:
            state: What the offer depends on, besides read-only mode.
        """
        if (offered := (*state, self.session.read_only)) != self._offered:
            self._offered = offered
            self.refresh_bindings()

    @property
    def frozen(self) -> bool:
        """Whether the display is frozen."""
        return self._frozen_at is not None

    def freeze(self, frozen: bool) -> None:
        """Freeze the display, or unfreeze it and show what has arrived in the meantime."""
        if frozen == self.frozen:
            return
        self._frozen_at = time.monotonic() if frozen else None
        self.draw_frame()
        if not frozen:
            held, self._held = self._held, {}
            for answer in held.values():
                self.take(answer)
            self.take_state()

    def show_result(self) -> None:
        """Even while frozen, show what is asked from now on, once: the result of an action."""
        self._awaited = dict.fromkeys(self.questions(), time.monotonic())

    # -- wiring

    @property
    def alive(self) -> bool:
        """Whether its widgets exist: false before it is mounted, and while it or the console closes."""
        return self.is_mounted and self.display and self.app.is_running

    def compose(self) -> ComposeResult:
        """The frame."""
        yield Line(id="title")
        yield Line(id="tabs")
        yield Line(id="alert")
        yield from self.body()
        yield Keys()

    def on_screen_resume(self) -> None:
        """Subscribe to its questions when it is shown."""
        self.console.subscribe(self)

    def on_resize(self) -> None:
        """Fit the frame. Textual also calls a subclass's handler, so neither calls the other."""
        self.draw_frame()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Report internal errors: nothing fails silently."""
        if event.state is WorkerState.ERROR:
            message = printable_line(f"{type(event.worker.error).__name__}: {event.worker.error}", 300)
            self.notify(message, title="Internal error", severity="error", markup=False)

    @on(Click, "#tabs")
    def _tab_clicked(self, event: Click) -> None:
        event.stop()
        line = tabs(self.MODE, self.store, self.size.width).plain
        self.console.action_show(tab_at(event.x, line))

    @on(TextView.Searched)
    @work(group="ask", exit_on_error=False)
    async def _search_text(self, event: TextView.Searched) -> None:
        """Ask what to search a text for, and go there."""
        from embedq_tui.dialogs.choose import ask_text

        sought = await ask_text(self.app, "Search this text for", value=event.sought)
        if sought is not None and not event.view.search(sought):
            self.notify(f"Not found: {printable_line(sought, 60)}", markup=False)

    def action_freeze(self) -> None:
        """Freeze or unfreeze the display."""
        self.freeze(not self.frozen)

    def take(self, answer: Answer[Any]) -> None:
        """Show an answer, if its question is still current."""
        if not self.alive or answer.question not in tuple(self.questions()):
            return
        awaited = answer.error is None and answer.at > self._awaited.get(answer.question, math.inf)
        if awaited:
            del self._awaited[answer.question]
        if self.frozen and not awaited:
            self._held[answer.question] = answer
            return
        if self.frozen:
            self._frozen_at = time.monotonic()
            self._held.pop(answer.question, None)
        self.answered(answer)
        self._draw_what_ages()  # the one before may have been overdue

    def take_state(self) -> None:
        """Show what changed in the store."""
        self.draw_frame()
        if self.alive and not self.frozen:
            self.state_changed()

    def tick(self) -> None:
        """Update whatever ages, once a second."""
        self._draw_what_ages()
        now = self.store.now()
        if self.alive and now is not None and not self.frozen:
            self.ticked(now)

    def draw_frame(self) -> None:
        """Update the lines around the screen."""
        self._draw_what_ages()
        if self.alive:
            self.query_one("#tabs", Line).say(tabs(self.MODE, self.store, self.size.width))

    def _draw_what_ages(self) -> None:
        if not self.alive:
            return
        frozen_s = None if self._frozen_at is None else time.monotonic() - self._frozen_at
        width = self.size.width
        self.query_one("#title", Line).say(
            title(self.session, width, frozen_s=frozen_s, shown=self.questions())
        )
        wrong = alert(self.store, width, read_only=bool(self.session.read_only))
        line = self.query_one("#alert", Line)
        line.say(wrong)
        line.display = bool(wrong)
