"""The console: which screen is shown, which database is looked at, and the keys that work everywhere."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.events import Event, Key, Paste, Resize
from textual.screen import Screen
from textual.types import CSSPathType
from textual.worker import Worker, WorkerState

from embedq_tui.capabilities import ascii_only, few_colours
from embedq_tui.console.ascii_filter import AsciiFilter
from embedq_tui.console.bindings import EVERYWHERE
from embedq_tui.console.desk import Desk
from embedq_tui.console.driver import TerminalDriver
from embedq_tui.console.options import Options
from embedq_tui.console.palette import Commands
from embedq_tui.console.theme import DARK, LIGHT
from embedq_tui.console.type_ahead import TypeAhead
from embedq_tui.heap import forget_widths, settle_anew
from embedq_tui.live.questions import Answer
from embedq_tui.live.session import Session
from embedq_tui.profiles import Profile
from embedq_tui.screens import ENTRIES, Entry
from embedq_tui.screens.base import ConsoleScreen
from embedq_worker.errors import EmbedqError
from embedq_worker.settings import Settings
from embedq_worker.text import printable, printable_line

if TYPE_CHECKING:
    from embedq_tui.dialogs.service import Dialogs
    from embedq_tui.execution.executor import Executor
    from embedq_tui.supervisor.supervisor import Supervisor

_SHEET = Path(__file__).with_name("console.tcss")

_BETWEEN = "between"
"""Mode that shows nothing, while one database takes the place of another."""


class Console(App[int]):
    """The application.

    Args:
        settings: Where the database is.
        profile: How the operator named it.
        options: How the console was started.
    """

    TITLE = "embedq"
    # All there are: for one that comes later, with its screen, Textual reads all of them again.
    CSS_PATH: ClassVar[CSSPathType | None] = [_SHEET, *sorted(_SHEET.parents[1].glob("screens/*/*.tcss"))]
    COMMANDS = App.COMMANDS | {Commands}
    DEFAULT_MODE = "overview"
    BINDINGS: ClassVar[list[BindingType]] = EVERYWHERE

    def __init__(self, settings: Settings, profile: Profile, options: Options) -> None:
        plain = few_colours()
        super().__init__(driver_class=TerminalDriver, ansi_color=True if plain else None)
        self.options = options
        self.ascii_only = ascii_only()
        if self.ascii_only:
            self._filters.append(AsciiFilter())
        for theme in (DARK, LIGHT):
            self.register_theme(theme)
        # Nobody has to be told: nothing is shown yet. Told, Textual would read all style sheets once more.
        self.set_reactive(App.theme, "ansi-dark" if plain else DARK.name)
        self.stylesheet.set_variables(self.get_css_variables())
        self.started_with = (settings, profile)
        self._type_ahead = TypeAhead(self, super().on_event, lambda: self._desk.about_to_ask)
        self._wire(settings, profile)
        self._serving: Worker[None] | None = None
        self._last = "overview"
        self._add_modes()
        self.add_mode(_BETWEEN, Screen)

    # -- life

    def on_load(self) -> None:
        """Hear signals, before the terminal is taken: whatever comes gives it back. Look at the database."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                asyncio.get_running_loop().add_signal_handler(number, self.exit, 128 + number)
        self._serve()  # it answers while the first screen is made

    def on_mount(self) -> None:
        """Begin what goes on beside the screens."""
        if self.options.keymap:
            self.set_keymap(dict(self.options.keymap))
        self.set_interval(1.0, self._tick)
        if self.options.worker is not None:
            self.run_worker(self.supervisor.start(), group="supervisor", exit_on_error=False)
        if self.options.companion is not None:
            self.run_worker(self.options.companion(), group="companion", exit_on_error=False)

    def on_resize(self, event: Resize) -> None:
        """A terminal that was of another size for a moment has lost what it showed."""
        if event.size == self.size:  # Textual draws nothing then
            self.refresh()

    async def on_unmount(self) -> None:
        """A worker that was not left running on purpose finishes what it holds, and ends by itself."""
        await self._desk.close()

    def _add_modes(self) -> None:
        for entry in ENTRIES:
            self.add_mode(entry.name, partial(self._made, entry))

    def _made(self, entry: Entry) -> Screen[None]:
        """A screen of now. Textual tells those of before a change of theme by a count, to style them anew."""
        screen = entry.build()
        screen._css_update_count = getattr(self, "_css_update_count", -1)
        return screen

    def _wire(self, settings: Settings, profile: Profile) -> None:
        """Everything that belongs to one database."""
        read_only = self.options.read_only or profile.read_only
        if read_only:  # whatever a screen might forget, PostgreSQL refuses
            settings = settings.model_copy(update={"db_read_only": True})
        session = Session(
            settings,
            profile,
            read_only=read_only,
            on_state=lambda: self._state_changed() if session is self.session else None,
            on_answer=lambda answer: self._answered(answer) if session is self.session else None,
        )
        self.session = session
        self._desk = Desk(self, session, self.options, self._state_changed)

    def _serve(self) -> None:
        self._serving = self.run_worker(
            self.session.run(), name="session", group="session", exclusive=True, exit_on_error=False
        )

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """What ends by an error of ours is told, and a session begun again: the console stays up."""
        if event.state is not WorkerState.ERROR:
            return
        told = printable_line(f"{type(event.worker.error).__name__}: {event.worker.error}", 300)
        self.notify(told, title="Internal error", severity="error", markup=False)
        if event.worker is self._serving:
            self.set_timer(1.0, self._serve)

    async def look_at(self, settings: Settings, profile: Profile) -> None:
        """Look at another database; nothing of the one before is shown any more. Call it in a worker of ours.

        Args:
            settings: Where it is.
            profile: How the operator named it.
        """
        if self.supervisor.alive:
            self.notify("A worker of this console runs: stop it, or leave it running, first", markup=False)
            return
        name = self.current_mode
        self.switch_mode(_BETWEEN)
        for entry in ENTRIES:
            await self.remove_mode(entry.name)
        self.clear_notifications()
        self.workers.cancel_group(self, "act")
        await self._desk.close()
        self._wire(settings, profile)
        self._last = "overview"
        self._add_modes()
        self._serve()
        self.switch_mode(name)
        settle_anew()

    # -- acting on it

    @property
    def dialogs(self) -> Dialogs:
        """They ask and tell the operator; they name this database."""
        return self._desk.dialogs

    @property
    def executor(self) -> Executor:
        """Carries out requests on this database."""
        return self._desk.executor

    @property
    def supervisor(self) -> Supervisor:
        """It starts and ends the worker of this console."""
        return self._desk.supervisor

    # -- from the store to the screen

    @property
    def shown(self) -> ConsoleScreen | None:
        """The topmost screen of ours, under the dialogs."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, ConsoleScreen):
                return screen
        return None

    def stand(self, screen: ConsoleScreen) -> None:
        """Let the questions of a screen stand, and show it what is known."""
        questions = tuple(screen.questions())
        self.session.stand(questions)
        screen.take_state()
        for question in questions:
            if (known := self.session.store.answers.get(question)) is not None:
                screen.take(known)

    def _state_changed(self) -> None:
        self._desk.tell_turned()
        self._with_shown(lambda screen: screen.take_state())

    def _answered(self, answer: Answer[Any]) -> None:
        self._with_shown(lambda screen: screen.take(answer))

    def _tick(self) -> None:
        forget_widths()
        self.session.store.sample()
        self._with_shown(lambda screen: screen.tick())

    def _with_shown(self, do: Callable[[ConsoleScreen], None]) -> None:
        """In the screen's own queue: what goes wrong there is its fault, not the feed's."""
        if (screen := self.shown) is not None and screen.is_mounted:
            screen.call_next(do, screen)

    # -- keys

    async def on_event(self, event: Event) -> None:
        """What is typed is handed on in its order, each key when the one before it has done its work."""
        if isinstance(event, Key | Paste) and not event.is_forwarded:
            await self._type_ahead.came(event)
        else:
            await super().on_event(event)

    def action_show(self, name: str) -> None:
        """Show a screen."""
        if name != self.current_mode:
            self._last = self.current_mode
            self.switch_mode(name)

    @work(group="ask", exit_on_error=False)
    async def act_on(self, name: str, action: str) -> None:
        """Show a screen, and do there what has a key there.

        Args:
            name: Of the screen.
            action: Of that screen.
        """
        while len(self.screen_stack) > 1:  # details of the screen that is shown
            await self.pop_screen()
        if name != self.current_mode:
            self._last = self.current_mode
            await self.switch_mode(name)
        if self.screen.check_action(action, ()) is None and self.dialogs.refused():
            return
        if not await self.run_action(action, self.screen):
            self.notify("There is nothing to do it to", markup=False)

    def action_show_last(self) -> None:
        """Show the screen before this one."""
        self.action_show(self._last)

    def action_refresh(self) -> None:
        """Look at everything now; try a lost connection now."""
        self.session.again()

    @work(exclusive=True, group="profiles", exit_on_error=False)
    async def action_profiles(self) -> None:
        """Look at another database."""
        from embedq_tui.screens.profiles import choose_profile

        chosen = await choose_profile(self)
        if chosen is not None:
            await self.look_at(*chosen)

    @work(exclusive=True, group="profiles", exit_on_error=False)
    async def look_at_profile(self, profile: Profile) -> None:
        """Look at the database of a profile."""
        try:
            settings = profile.settings(self.options.env_file)
        except EmbedqError as error:
            self.notify(printable(str(error)), severity="error", markup=False)
        else:
            await self.look_at(settings, profile)

    @work(exclusive=True, group="migrate", exit_on_error=False)
    async def action_migrate(self) -> None:
        """Apply migrations that are missing, after a question."""
        from embedq_tui.screens.settings.migrate import offer_migrations

        await offer_migrations(self)

    @work(exclusive=True, group="act", exit_on_error=False)
    async def action_undo(self) -> None:
        """Take back what was done last, where that can be."""
        await self.executor.history.undo_last()

    @work(exclusive=True, group="probe", exit_on_error=False)
    async def action_probe(self) -> None:
        """Have providers that are held tried at once, now that somebody mended them."""
        from embedq_tui.screens.probing import try_providers

        await try_providers(self)

    async def action_quit(self) -> None:
        """End; what becomes of a worker that runs is asked."""
        self._quit()

    @work(exclusive=True, group="quit", exit_on_error=False)
    async def _quit(self) -> None:
        if self.supervisor.alive:
            from embedq_tui.console.leaving import may_leave

            if not await may_leave(self):
                return
        self.exit(0)

    @work(exclusive=True, group="picture", exit_on_error=False)
    async def action_picture(self) -> None:
        """Save a picture of what is shown."""
        from embedq_tui.screens.exporting import keep_picture

        await keep_picture(self)

    def action_help(self) -> None:
        """Show the keys of this screen."""
        from embedq_tui.screens.help import HelpScreen

        self.push_screen(HelpScreen(self.screen))

    def action_troubles(self) -> None:
        """Show everything that is wrong, with advice."""
        from embedq_tui.screens.troubles import TroublesScreen

        self.push_screen(TroublesScreen(self.session))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Of Textual's own commands those that ours do not have."""
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)
        yield SystemCommand("Screenshot", "Save what is shown as SVG", self.action_picture)
