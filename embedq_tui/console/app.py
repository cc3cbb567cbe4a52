"""The console application: which screen is shown, which database it is connected to, the global keys."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.events import Event, Key, Paste
from textual.screen import Screen
from textual.types import CSSPathType
from textual.worker import Worker, WorkerError, WorkerState

from embedq_tui.capabilities import ascii_only, few_colours
from embedq_tui.console.ascii_filter import KEY_NAMES, AsciiFilter
from embedq_tui.console.bindings import EVERYWHERE
from embedq_tui.console.driver import TerminalDriver
from embedq_tui.console.heap import forget_widths, settle_again
from embedq_tui.console.palette import Commanded, Commands
from embedq_tui.console.theme import DARK, LIGHT
from embedq_tui.console.type_ahead import TypeAhead
from embedq_tui.desk import Desk, Options
from embedq_tui.live.questions import Answer
from embedq_tui.live.session import Session
from embedq_tui.profiles import Profile
from embedq_tui.rendering import keys
from embedq_tui.screens import ENTRIES, Entry
from embedq_tui.screens.base import ConsoleScreen
from embedq_worker.configuration.settings import Settings
from embedq_worker.text import printable_line

_SHEET = Path(__file__).with_name("console.tcss")

_BETWEEN = "between"
"""An empty mode, shown while switching from one database to another."""


class Console(App[int]):
    """The application.

    Args:
        settings: Where the database is.
        profile: The operator's profile of it.
        options: How the console was started.
    """

    TITLE = "embedq"
    # All style sheets at once: for one added later with its screen, Textual would re-read them all.
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
        # Set without notifying watchers: nothing is shown yet, and Textual would re-read all style sheets.
        self.set_reactive(App.theme, "ansi-dark" if plain else DARK.name)
        self.stylesheet.set_variables(self.get_css_variables())
        self._started_with = (settings, profile)
        self._type_ahead = TypeAhead(self, super().on_event, lambda: self.desk.about_to_ask)
        self._wire(settings, profile)
        self._serving: Worker[None] | None = None
        self._last = "overview"
        self._add_modes()
        self.add_mode(_BETWEEN, Screen)

    # -- lifecycle

    def on_load(self) -> None:
        """Install signal handlers before taking over the terminal, so that it is always restored; connect."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
                asyncio.get_running_loop().add_signal_handler(number, self.exit, 128 + number)
        self._bind_keys()  # before there are screens, whose context is a copy of this one
        self._serve()  # the answers arrive while the first screen is built

    def on_mount(self) -> None:
        """Start what runs beside the screens."""
        self.set_interval(1.0, self._tick)
        if self.options.worker:
            self.run_worker(self.desk.supervisor.start(), group="supervisor", exit_on_error=False)
        if self.options.companion is not None:
            self.run_worker(self.options.companion(), group="companion", exit_on_error=False)

    def _bind_keys(self) -> None:
        keymap = dict(self.options.keymap or {})
        if keymap:
            self.set_keymap(keymap)
        first = {name: Binding(chosen.split(",")[0], "") for name, chosen in keymap.items()}
        keys.bind({name: self.get_key_display(binding) for name, binding in first.items()})

    def on_resize(self) -> None:
        """Redraw: if the size changed for a moment, the content is lost, and Textual may draw nothing."""
        self.refresh()

    def _fatal_error(self) -> None:
        """Close, without the traceback that Textual would print: it shows local variables."""
        self._close_messages_no_wait()

    @property
    def bug(self) -> Exception | None:
        """The bug that ended it, if any; an error while it closes is none: a screen may be half built."""
        return None if self._exit else self._exception

    async def on_unmount(self) -> None:
        """Let a worker that was not deliberately left running finish its tasks and exit by itself."""
        await self.desk.close()

    def _add_modes(self) -> None:
        for entry in ENTRIES:
            self.add_mode(entry.name, partial(self._made, entry))

    def _made(self, entry: Entry) -> Screen[None]:
        """Build a screen in the current theme: by this count Textual knows which screens need restyling."""
        screen = entry.build()
        screen._css_update_count = getattr(self, "_css_update_count", -1)
        return screen

    def _wire(self, settings: Settings, profile: Profile) -> None:
        """Set up everything that belongs to one database."""
        read_only = self.options.read_only or profile.read_only
        if read_only:  # a safety net: PostgreSQL refuses whatever a screen lets through
            settings = settings.model_copy(update={"db_read_only": True})
        session = Session(
            settings,
            profile,
            read_only=read_only,
            on_state=lambda: self._state_changed() if session is self.desk.session else None,
            on_answer=lambda answer: self._answered(answer) if session is self.desk.session else None,
        )
        self.desk = Desk(self, session, self.options, self._state_changed)

    def _serve(self) -> None:
        self._serving = self.run_worker(
            self.desk.session.run(), name="session", group="session", exclusive=True, exit_on_error=False
        )

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Report internal errors, and restart a failed session: the console stays up."""
        if event.state is not WorkerState.ERROR:
            return
        message = printable_line(f"{type(event.worker.error).__name__}: {event.worker.error}", 300)
        self.notify(message, title="Internal error", severity="error", markup=False)
        if event.worker is self._serving:
            self.set_timer(1.0, self._serve)

    async def look_at(self, settings: Settings, profile: Profile) -> None:
        """Switch to another database; nothing of the previous one stays on screen. Call it in a worker.

        Args:
            settings: Where it is.
            profile: The operator's profile of it.
        """
        if self.desk.supervisor.alive:
            self.notify(
                "This console's worker is still running: stop it or leave it running first", markup=False
            )
            return
        name = self.current_mode
        self.switch_mode(_BETWEEN)
        for entry in ENTRIES:
            await self.remove_mode(entry.name)
        self.clear_notifications()
        self.workers.cancel_group(self, "act")
        await self.desk.close()
        self._wire(settings, profile)
        self._last = "overview"
        self._add_modes()
        self._serve()
        self.switch_mode(name)
        settle_again()

    # -- from the store to the screen

    @property
    def shown(self) -> ConsoleScreen | None:
        """The topmost console screen, below any dialogs."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, ConsoleScreen):
                return screen
        return None

    def subscribe(self, screen: ConsoleScreen) -> None:
        """Subscribe to a screen's questions, and give it the answers already known."""
        questions = tuple(screen.questions())
        self.desk.session.subscribe(questions)
        screen.take_state()
        for question in questions:
            if (known := self.desk.session.store.answers.get(question)) is not None:
                screen.take(known)

    def _state_changed(self) -> None:
        self.desk.tell_turned()
        self._with_shown(lambda screen: screen.take_state())

    def _answered(self, answer: Answer[Any]) -> None:
        self._with_shown(lambda screen: screen.take(answer))

    def _tick(self) -> None:
        forget_widths()
        self.desk.session.store.sample()
        self._with_shown(lambda screen: screen.tick())

    def _with_shown(self, do: Callable[[ConsoleScreen], None]) -> None:
        """Run something in the screen's message queue, so that its errors do not reach the feed."""
        if (screen := self.shown) is not None and screen.is_mounted:
            screen.call_next(do, screen)

    # -- keys

    def get_key_display(self, binding: Binding) -> str:
        """How a key is shown: by name where its sign would become a question mark."""
        shown = super().get_key_display(binding)
        return shown.translate(KEY_NAMES) if self.ascii_only else shown

    async def on_event(self, event: Event) -> None:
        """Deliver typed input in order, each key once the one before it has taken effect."""
        if isinstance(event, Key | Paste) and not event.is_forwarded:
            await self._type_ahead.came(event)
        else:
            await super().on_event(event)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey out changes in read-only mode."""
        if action in ("migrate", "probe", "undo") and self.desk.session.read_only:
            return None
        return super().check_action(action, parameters)

    def on_key(self, event: Key) -> None:
        """Say why changes are refused here."""
        active = self.screen.active_bindings.get(event.key)
        if active is None or active.enabled:
            return
        if active.node is self or active.binding.action.startswith("app."):  # a dialog may pass it on
            self.desk.dialogs.refused()

    def action_show(self, name: str) -> None:
        """Show a screen, as it was left; the current one without the details on top of it."""
        if name != self.current_mode:
            self._last = self.current_mode
            self.switch_mode(name)
        else:
            for _ in self.screen_stack[1:]:
                self.pop_screen()

    @work(group="ask", exit_on_error=False)
    async def act_on(self, name: str, action: str) -> None:
        """Show a screen, and run one of its actions.

        Args:
            name: The screen's.
            action: The screen's.
        """
        while len(self.screen_stack) > 1:  # detail screens on top of the current one
            await self.pop_screen()
        if name != self.current_mode:
            self._last = self.current_mode
            await self.switch_mode(name)
        if self.screen.check_action(action, ()) is None and self.desk.dialogs.refused():
            return
        if not await self.run_action(action, self.screen):
            self.notify("Nothing to do: no suitable rows there", markup=False)

    def action_show_last(self) -> None:
        """Show the previous screen."""
        self.action_show(self._last)

    def action_refresh(self) -> None:
        """Refresh everything now, and retry a lost connection now; another program may have written here."""
        self.desk.session.again()
        if isinstance(self._driver, TerminalDriver):
            self._driver.redraw()

    @work(exclusive=True, group="profiles", exit_on_error=False)
    async def action_profiles(self) -> None:
        """Choose another database."""
        from embedq_tui.screens.profiles import choose_profile

        chosen = await choose_profile(self.desk, self._started_with)
        if chosen is not None:
            await self.look_at(*chosen)

    @work(exclusive=True, group="profiles", exit_on_error=False)
    async def look_at_profile(self, profile: Profile) -> None:
        """Switch to the database of a profile."""
        with self.desk.dialogs.telling("Database not opened"):
            await self.look_at(profile.settings(self.options.env_file), profile)

    @work(exclusive=True, group="migrate", exit_on_error=False)
    async def action_migrate(self) -> None:
        """Apply missing migrations, after confirmation."""
        from embedq_tui.screens.settings.migrate import offer_migrations

        await offer_migrations(self.desk)

    @work(exclusive=True, group="act", exit_on_error=False)
    async def action_undo(self) -> None:
        """Undo the last action, if possible."""
        await self.desk.executor.history.undo_last()

    @work(exclusive=True, group="probe", exit_on_error=False)
    async def action_probe(self) -> None:
        """Probe unavailable providers now, without waiting for their circuit breakers."""
        from embedq_tui.screens.probing import try_providers

        await try_providers(self.desk)

    @work(group="suspend", exit_on_error=False)
    async def action_suspend(self) -> None:
        """Suspend the console, without any connection: an open transaction would keep locks and dead rows."""
        if not isinstance(self._driver, TerminalDriver) or self._driver.suspended:
            return
        if self.desk.about_to_ask:
            self.notify("Not suspended: an operation is running. Stop it, or wait for its end", markup=False)
            return
        with self._driver.given_back():
            self._type_ahead.forget()
            if self._serving is not None:
                self._serving.cancel()
                with suppress(WorkerError):
                    await self._serving.wait()
            await self._driver.stop()
            self._serve()

    async def action_quit(self) -> None:
        """Quit; asks what to do with a running worker."""
        self._quit()

    @work(exclusive=True, group="quit", exit_on_error=False)
    async def _quit(self) -> None:
        if self.desk.supervisor.alive:
            from embedq_tui.console.leaving import may_leave

            if not await may_leave(self.desk):
                return
        self.exit(0)

    @work(exclusive=True, group="picture", exit_on_error=False)
    async def action_picture(self) -> None:
        """Save a screenshot."""
        from embedq_tui.screens.exporting import keep_picture

        await keep_picture(self.desk)

    def show_task(self, task: UUID) -> None:
        """Show a task's details on top of the current screen."""
        from embedq_tui.screens.tasks.detail import TaskDetailScreen

        self.push_screen(TaskDetailScreen(task))

    def show_article(self, article: int) -> None:
        """Show an article's details on top of the current screen."""
        from embedq_tui.screens.articles.detail import ArticleDetailScreen

        self.push_screen(ArticleDetailScreen(article))

    def action_help(self) -> None:
        """Show the keys of this screen."""
        from embedq_tui.screens.help import HelpScreen

        self.push_screen(HelpScreen(self.screen))

    def action_troubles(self) -> None:
        """Show every current problem, with advice."""
        from embedq_tui.screens.troubles import TroublesScreen

        self.desk.session.again()
        self.push_screen(TroublesScreen(self.desk.session))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette commands that have no key."""
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)
        yield SystemCommand("Screenshot", "Save the screen as SVG", self.action_picture)


if TYPE_CHECKING:
    _commanded: type[Commanded] = Console
