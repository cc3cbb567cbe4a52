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
from embedq_tui.rendering.styles import BAD, DOUBTFUL, HEAD, QUIET, badge_style
from embedq_worker.errors import EmbedqError
from embedq_worker.settings import Settings
from embedq_worker.text import printable_line

NAME_WIDTH = 16


@dataclass(frozen=True, slots=True)
class Place:
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
    places = [Place(started, settings)]
    places += [_place(profile, desk) for profile in named if profile.name != started.name]
    current = next(
        (at for at, place in enumerate(places) if place.profile.name == desk.session.profile.name), 0
    )
    chosen = await show(desk.app, ProfilesScreen(places, current, note))
    if chosen is None or chosen.settings is None:
        return None
    return chosen.settings, chosen.profile


def _place(profile: Profile, desk: Desk) -> Place:
    try:
        return Place(profile, profile.settings(desk.options.env_file))
    except EmbedqError as error:
        return Place(profile, None, error.message)


class ProfilesScreen(OneOf[Place]):
    """Shows the databases.

    Args:
        places: The databases to choose from.
        current: Index of the current one.
        note: A remark, if any.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+o", "give_up", show=False, id="profiles.close"),
    ]

    def __init__(self, places: Sequence[Place], current: int, note: str) -> None:
        labels = [_label(place, current=at == current) for at, place in enumerate(places)]
        super().__init__("Databases", labels, current)
        self._places = places
        self._note = note

    def lines(self) -> Iterable[Widget]:
        """The databases, and what is wrong with a chosen one."""
        if self._note:
            yield Static(text_of(self._note, QUIET))
        yield from super().lines()
        yield Static(id="complaint")

    def chosen(self, at: int) -> None:
        """Switch to it, if its settings are valid."""
        place = self._places[at]
        if place.settings is None:
            self.query_one("#complaint", Static).update(text_of(place.problem, BAD))
        else:
            self.end(place)


def _label(place: Place, *, current: bool) -> Text:
    profile = place.profile
    label = Text("> " if current else "  ")
    label.append(f"{printable_line(place.name, NAME_WIDTH):<{NAME_WIDTH}} ", HEAD)
    if profile.environment:
        word = printable_line(profile.environment, 20).upper()
        label.append(f" {word} ", badge_style(profile.badge_colour))
        label.append(" ")
    if profile.read_only:
        label.append("read-only ", DOUBTFUL)
    if place.settings is None:
        return label.append("invalid settings", BAD)
    return label.append(printable_line(place.settings.place), QUIET)
