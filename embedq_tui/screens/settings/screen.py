"""Settings with their sources, checks of database and provider, and the state of the schema."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import ContentSwitcher, Static

from embedq_tui.live.questions import Answer, Question
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.styles import BAD, DOUBTFUL, GOOD, HEAD, QUIET
from embedq_tui.screens.actions import ActionScreen, Change
from embedq_tui.screens.sections import Sectioned
from embedq_tui.screens.settings.migrate import offer_migrations
from embedq_tui.screens.settings.questions import Schema
from embedq_tui.screens.settings.render import (
    DEFAULT,
    MIGRATIONS,
    SETTINGS,
    about,
    check_lines,
    database_lines,
    migration_row,
    schema_line,
    setting_row,
    versions_line,
)
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.lines import Lines
from embedq_tui.widgets.text_view import TextLine, TextView
from embedq_tui.workflows.checking import check_all
from embedq_worker.configuration.loading import SettingRow
from embedq_worker.errors import EmbedqError, ExitCode
from embedq_worker.insights.doctor import Check
from embedq_worker.schema.state import MigrationState
from embedq_worker.text import age, printable_line

if TYPE_CHECKING:
    from textual.worker import Worker


class SettingsScreen(Sectioned, ActionScreen):
    """Shows the settings of this console, which also apply to a worker started here."""

    MODE = "settings"
    SECTIONS = ("settings", "checks", "migrations")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "check", "Check", id="settings.check", tooltip="Check database and provider"),
        Change("m", "migrate", "Migrate", id="settings.migrate", tooltip="Apply missing migrations"),
        Binding(
            "v",
            "verify",
            "Verify",
            id="settings.verify",
            tooltip="Verify counts and embeddings, and offer repairs",
        ),
        Change(
            "t",
            "trigger",
            "Trigger",
            id="settings.trigger",
            tooltip="Install or remove the trigger that queues every save",
        ),
        Change(
            "X",
            "clean_up",
            "Clean up",
            id="settings.clean_up",
            tooltip="Delete completed tasks, audit rows and metrics older than a number of days",
        ),
        Binding("tab,right,l", "section(1)", "Next tab", id="settings.next"),
        Binding("shift+tab,left,h", "section(-1)", "Previous tab", show=False, id="settings.previous"),
        Binding(
            "d",
            "only_set",
            "Hide defaults",
            show=False,
            id="settings.only_set",
            tooltip="Hide or show settings that have default values",
        ),
        Binding(
            "y", "copy", "Copy", show=False, id="settings.copy", tooltip="Copy NAME=value, secrets masked"
        ),
        Binding("escape", "back", show=False, id="settings.back", tooltip="Stop a check, or unfreeze"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
        self._rows: list[SettingRow] = []
        self._only_set = False
        self._states: list[MigrationState] | None = None
        self._problem: EmbedqError | None = None
        self._described: SettingRow | None = None
        self._checks: list[Check] = []
        self._checking: Worker[None] | None = None
        self._began = 0.0
        self._verdict: TextLine = (
            f"Press {key('settings.check')} to test database and provider the way a worker uses them.",
            QUIET,
        )

    def body(self) -> ComposeResult:
        """The database and schema, then one of several tabs."""
        yield Lines(id="where")
        yield Static(id="warnings")
        yield Lines(id="sections")
        with ContentSwitcher(initial=self.section):
            yield KeyedTable(SETTINGS, id="settings")
            yield TextView(id="checks")
            yield KeyedTable(MIGRATIONS, id="migrations")
        yield Static(id="about")

    def on_mount(self) -> None:
        """Read the settings' sources, once: the values in force were read at start-up."""
        session = self.session
        self._rows = session.profile.described(session.settings, self.desk.options.env_file)
        warnings = [Text(f"Warning: {printable_line(one)}", DOUBTFUL) for one in session.settings.warnings()]
        shown = self.query_one("#warnings", Static)
        shown.update(Text("\n").join(warnings))
        shown.display = bool(warnings)
        self.show_section(self.section)

    def questions(self) -> Iterable[Question[Any]]:
        """The state of the schema."""
        yield Schema()

    def answered(self, answer: Answer[Any]) -> None:
        """Show the state of the schema."""
        self._problem = answer.error
        self._states = answer.value if answer.error is None else self._states
        self.draw()
        self.refresh_bindings()

    def state_changed(self) -> None:
        """The rights may have changed."""
        self.query_one("#where", Lines).show(self._where())
        self.refresh_bindings()

    def ticked(self, now: datetime) -> None:
        """Update ages."""
        if self.section == "migrations":
            self.draw()

    def tick(self) -> None:
        """Keep updating a running check, even without a database."""
        super().tick()
        if self._checking is not None:
            self.draw()

    # -- drawing

    def draw(self) -> None:
        """Draw everything."""
        if not self.alive:
            return
        self.query_one("#where", Lines).show(self._where())
        self.query_one("#sections", Lines).show([self._sections()])
        self.query_one("#settings", KeyedTable).show(setting_row(row) for row in self._listed)
        self.query_one("#checks", TextView).show(self._check_lines())
        now = self.store.now()
        if self._states is not None and now is not None:
            table = self.query_one("#migrations", KeyedTable)
            table.show(migration_row(state, now) for state in self._states)
        self._draw_about()

    def _draw_about(self) -> None:
        description = self.query_one("#about", Static)
        row = self._current
        description.display = self.section == "settings" and row is not None
        if row is not None and row != self._described:
            self._described = row
            description.update(Text("\n").join(about(row)))

    def _where(self) -> Iterator[Text]:
        yield from database_lines(self.session)
        if self._problem is not None:
            yield Text(printable_line(self._problem.message), BAD)
        else:
            yield schema_line(self._states)
        yield versions_line()

    def _sections(self) -> Text:
        shown = f"Settings {len(self._listed)}" + (" (no defaults)" if self._only_set else "")
        labels = (shown, "Checks", f"Migrations {len(self._states or ())}")
        line = self.section_line(labels, "settings.next")
        if self.section == "settings":
            line.append(f"   {key('settings.only_set')}: defaults", QUIET)
        return line

    def _check_lines(self) -> Iterator[TextLine]:
        for check in self._checks:
            yield from check_lines(check)
        if self._checking is not None:
            yield f"...   {age(time.monotonic() - self._began)}, {key('settings.back')}: stop", DOUBTFUL
        else:
            yield self._verdict

    @property
    def _listed(self) -> list[SettingRow]:
        return [row for row in self._rows if not self._only_set or row.source != DEFAULT]

    @property
    def _current(self) -> SettingRow | None:
        name = self.query_one("#settings", KeyedTable).current
        return next((row for row in self._rows if row.name == name), None)

    @on(KeyedTable.RowHighlighted, "#settings")
    def _moved(self, event: KeyedTable.RowHighlighted) -> None:
        event.stop()
        self._draw_about()

    # -- keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done now."""
        if action in ("copy", "only_set"):
            return self.section == "settings"
        return super().check_action(action, parameters)

    def can_act(self, action: str) -> bool:
        """Migrating needs missing migrations."""
        missing = any(state.state == "pending" for state in self._states or ())
        return missing if action == "migrate" else super().can_act(action)

    def action_only_set(self) -> None:
        """Hide or show the defaults."""
        self._only_set = not self._only_set
        self.draw()

    def action_copy(self) -> None:
        """Copy the setting under the cursor, as shown."""
        if (row := self._current) is not None:
            self.to_clipboard(f"{row.name}={row.value}", row.name)

    def action_back(self) -> None:
        """Stop a check, or unfreeze."""
        if self._checking is not None:
            self._checking.cancel()
        elif self.frozen:
            self.freeze(False)

    def action_check(self) -> None:
        """Check database and provider; restarts a running check."""
        self._checks, self._began = [], time.monotonic()
        self._checking = self._check()
        self.show_section("checks")

    @work(exclusive=True, group="check", exit_on_error=False)
    async def _check(self) -> None:
        checks = self._checks

        def report(check: Check) -> None:
            checks.append(check)
            if checks is self._checks and self.alive:
                self.draw()

        verdict: TextLine = ("Stopped.", QUIET)
        try:
            verdict = _verdict(await check_all(self.session.settings, report))
        except EmbedqError as error:
            verdict = (printable_line(error.line), BAD)
        finally:
            if checks is self._checks:
                self._checking, self._verdict = None, verdict
                if self.alive:
                    self.draw()

    def action_migrate(self) -> None:
        """Offer to apply missing migrations."""
        self.alone(offer_migrations)

    def action_verify(self) -> None:
        """Verify counts and embeddings."""
        from embedq_tui.screens.settings.maintenance import verify

        self.alone(verify)

    def action_trigger(self) -> None:
        """Install the trigger on articles, or remove it."""
        from embedq_tui.screens.settings.maintenance import switch_trigger

        self.alone(switch_trigger)

    def action_clean_up(self) -> None:
        """Delete old data."""
        from embedq_tui.screens.settings.maintenance import clean_up

        self.alone(clean_up)


def _verdict(code: ExitCode) -> TextLine:
    match code:
        case ExitCode.OK:
            return "A worker can run with these settings.", f"{HEAD} {GOOD}"
        case ExitCode.UNREACHABLE:
            return "The database or the provider cannot be reached.", f"{HEAD} {BAD}"
        case _:
            return "A worker cannot run with these settings.", f"{HEAD} {BAD}"
