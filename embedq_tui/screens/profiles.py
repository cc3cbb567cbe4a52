"""Choosing among the named databases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Static

from embedq_tui.desk import Desk
from embedq_tui.dialogs.choose import OneOf
from embedq_tui.dialogs.dialog import show, text_of
from embedq_tui.profiles import Profile, load_profiles
from embedq_tui.rendering.styles import BAD, DOUBTFUL, HEAD, QUIET, badge
from embedq_worker.configuration.settings import Settings
from embedq_worker.errors import EmbedqError
from embedq_worker.text import printable_line

NAME_WIDTH = 16


@dataclass(frozen=True, slots=True)
class Database:
    """A database to choose.

    Attributes:
        profile: Its profile.
        settings: Its settings; None if they cannot be loaded.
        problem: Why they cannot.
    """

    profile: Profile
    settings: Settings | None
    problem: str = ""

    @property
    def name(self) -> str:
        """Its display name."""
        return self.profile.name or "environment"


async def choose_profile(
    desk: Desk, started_with: tuple[Settings, Profile]
) -> tuple[Settings, Profile] | None:
    """Let the operator choose a database. Call it in a Textual worker.

    Args:
        desk: Of the current database.
        started_with: Settings and profile of the database that the console was started with.

    Returns:
        Its settings and profile; None if none was chosen.
    """
    file = desk.options.profiles.file if desk.options.profiles is not None else None
    note = ""
    named: Iterable[Profile] = ()
    try:  # read again: the file may have changed since the start
        profiles = load_profiles(file)
        named = profiles.by_name.values()
        if not profiles.by_name:
            note = f"No others in {profiles.file}; see docs/configuration.md to add some."
    except EmbedqError as error:
        note = str(error)
    settings, started = started_with
    databases = [Database(started, settings)]
    databases += [_database(profile, desk) for profile in named if profile.name != started.name]
    current = next(
        (at for at, database in enumerate(databases) if database.profile.name == desk.session.profile.name), 0
    )
    chosen = await show(desk.app, ProfilesScreen(databases, current, note))
    if chosen is None or chosen.settings is None:
        return None
    return chosen.settings, chosen.profile


def _database(profile: Profile, desk: Desk) -> Database:
    try:
        return Database(profile, profile.settings(desk.options.env_file))
    except EmbedqError as error:
        return Database(profile, None, error.message)


class ProfilesScreen(OneOf[Database]):
    """Shows the databases.

    Args:
        databases: The databases to choose from.
        current: Index of the current one.
        note: A remark, if any.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+o", "give_up", show=False, id="profiles.close")]

    def __init__(self, databases: Sequence[Database], current: int, note: str) -> None:
        labels = [_label(database, current=at == current) for at, database in enumerate(databases)]
        super().__init__("Databases", labels, current)
        self._databases = databases
        self._note = note

    def lines(self) -> Iterable[Widget]:
        """The databases, and what is wrong with a chosen one."""
        if self._note:
            yield Static(text_of(self._note, QUIET))
        yield from super().lines()
        yield Static(id="complaint")

    def chosen(self, at: int) -> None:
        """Switch to it, if its settings are valid."""
        database = self._databases[at]
        if database.settings is None:
            self.query_one("#complaint", Static).update(text_of(database.problem, BAD))
        else:
            self.end(database)


def _label(database: Database, *, current: bool) -> Text:
    profile = database.profile
    label = Text("> " if current else "  ")
    label.append(f"{printable_line(database.name, NAME_WIDTH):<{NAME_WIDTH}} ", HEAD)
    label.append_text(badge(printable_line(profile.environment), profile.badge_colour))
    if profile.read_only:
        label.append("read-only ", DOUBTFUL)
    if database.settings is None:
        return label.append("invalid settings", BAD)
    return label.append(printable_line(database.settings.place), QUIET)
