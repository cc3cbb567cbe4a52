"""Every key of the console, read from the bindings: for the documentation and for custom keymaps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from textual.app import App
from textual.binding import Binding, BindingType, InvalidBinding
from textual.dom import DOMNode
from textual.keys import KEY_NAME_REPLACEMENTS, Keys, format_key, key_to_character
from textual.screen import ModalScreen
from textual.widgets import DataTable, Input

from embedq_tui.console.app import Console
from embedq_tui.dialogs.choose import OneOf, TextLine
from embedq_tui.dialogs.confirm import Confirm
from embedq_tui.dialogs.dialog import Dialog
from embedq_tui.dialogs.outcome import Tell
from embedq_tui.dialogs.running import Running
from embedq_tui.screens import ENTRIES
from embedq_tui.screens.articles.detail import ArticleDetailScreen
from embedq_tui.screens.articles.search import ArticleSearchScreen
from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.screens.filter_line import FilterLine
from embedq_tui.screens.help import HelpScreen
from embedq_tui.screens.tasks.detail import TaskDetailScreen
from embedq_tui.screens.troubles import TroublesScreen
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.log_list import LogList
from embedq_tui.widgets.text_view import TextView
from embedq_worker.errors import SettingsError

_BASES = (ConsoleScreen, Dialog, App, DataTable, Input, ModalScreen)

_ANYWHERE = {"Everywhere", "Every screen"}
_LISTLESS = {"Overview", "Audit", "The audit log", "Every longer text", "A line for a filter"}
"""Places without the keys of "Every list"."""

_DIALOGS: dict[str, type[DOMNode]] = {
    "Every dialog": Dialog,
    "A list to choose from": OneOf,
    "A line to type": TextLine,
    "A confirmation": Confirm,
    "A running operation": Running,
    "A report": Tell,
}
_OVERLAYS: dict[str, type[DOMNode]] = {"Help": HelpScreen, "Problems": TroublesScreen}

MODAL = {*_DIALOGS, *_OVERLAYS}
"""Places where the keys of the screen below do not work."""

_MODIFIERS = {"alt", "ctrl", "shift", "super", "hyper", "meta"}
_KEYS = {*(key.value for key in Keys), *KEY_NAME_REPLACEMENTS.values()}
"""Names of keys; characters have those of Unicode besides."""


class Key(NamedTuple):
    """A key, or several with the same effect.

    Attributes:
        place: Where it works.
        keys: As pressed.
        id: The binding id, used in keymaps.
        words: What it does.
        names: The keys, as Textual names them.
        first: It comes before all others with the same key, those of dialogs included.
    """

    place: str
    keys: str
    id: str
    words: str
    names: tuple[str, ...]
    first: bool


def all_keys() -> Iterator[Key]:
    """Every key that has an id, place by place."""
    yield from _of("Everywhere", Console)
    yield from _of("Every screen", ConsoleScreen)
    yield from _of("Every list", KeyedTable)
    yield from _of("The audit log", LogList)
    yield from _of("Every longer text", TextView)
    for entry in ENTRIES:
        yield from _of(entry.title, type(entry.build()))
    yield from _of("A task", TaskDetailScreen)
    yield from _of("An article", ArticleDetailScreen)
    yield from _of("Searching articles", ArticleSearchScreen)
    yield from _of("A line for a filter", FilterLine)
    for place, owner in (_DIALOGS | _OVERLAYS).items():
        yield from _of(place, owner)


def _of(place: str, owner: type[DOMNode]) -> Iterator[Key]:
    """The keys of a class and its bases, up to those listed under a place of their own."""
    for made_of in owner.__mro__:
        if made_of in _BASES and made_of is not owner:
            return
        yield from _named(place, vars(made_of).get("BINDINGS", ()))


def _named(place: str, bindings: Iterable[BindingType]) -> Iterator[Key]:
    for binding in bindings:
        if isinstance(binding, Binding) and binding.id:
            words = binding.tooltip or binding.description or binding.action.replace("_", " ").capitalize()
            names = tuple(binding.key.split(","))
            yield Key(place, " ".join(map(format_key, names)), binding.id, words, names, binding.priority)


def keymap_of(wanted: Mapping[str, str]) -> Mapping[str, str]:
    """An operator's own keymap, with keys as Textual names them: ``slash`` for ``/``, ``f5`` for ``F5``.

    Args:
        wanted: A key, or several with commas between them, by the id of a binding.

    Raises:
        SettingsError: A binding or a key does not exist, or the key is already taken where the binding works.
    """
    known = tuple(all_keys())
    ids = {key.id for key in known}
    for name in wanted:
        if name not in ids:
            raise SettingsError(
                f"[keys]: there is no binding {name!r}", "the names are listed in docs/console.md"
            )
    keymap = {name: ",".join(_named_keys(name, keys)) for name, keys in wanted.items()}
    _require_free(known, keymap)
    return keymap


def _require_free(known: Iterable[Key], keymap: Mapping[str, str]) -> None:
    """Textual would let one of two bindings have the key, and the other none."""
    held = {key: keymap[key.id].split(",") if key.id in keymap else key.names for key in known}
    for key, names in held.items():
        for other, taken in held.items():
            clash = {*names} & {*taken} - {*key.names}
            if clash and other.id != key.id and _meet(key, other):
                raise SettingsError(
                    f"[keys]: {key.id!r} and {other.id!r} have the same key: {format_key(min(clash))}",
                    f"choose another key, or bind {other.id!r} to another one too",
                )


def _meet(key: Key, other: Key) -> bool:
    """Whether both keys work at the same time."""
    places = {key.place, other.place}
    if any(one.first and one.place in _ANYWHERE for one in (key, other)):
        return True
    if places & MODAL:
        return len(places) == 1 or ("Every dialog" in places and places <= _DIALOGS.keys())
    return len(places) == 1 or bool(places & _ANYWHERE) or ("Every list" in places and not places & _LISTLESS)


def _named_keys(name: str, keys: str) -> Iterator[str]:
    """Textual would bind any text, and nobody could press it."""
    try:
        for binding in Binding.make_bindings([Binding(keys, "")]):
            key = binding.key if len(binding.key) == 1 else binding.key.lower()
            *modifiers, pressed = key.split("+")
            if not _MODIFIERS.issuperset(modifiers) or not (pressed in _KEYS or key_to_character(pressed)):
                raise InvalidBinding(key)
            yield key
    except InvalidBinding:
        raise SettingsError(
            f"[keys]: {name!r} has a key that does not exist: {keys!r}", "such as: x, X, /, f5, ctrl+x"
        ) from None


def markdown() -> str:
    """The key tables of docs/console.md."""
    lines, place = [], ""
    for key in all_keys():
        if key.place != place:
            place = key.place
            lines += ["", f"### {place}", "", "| Key | Action | Name |", "|---|---|---|"]
        shown = key.keys.replace("|", "\\|")
        lines.append(f"| `{shown}` | {key.words} | `{key.id}` |")
    return "\n".join(lines).strip() + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
