"""Every key of the console, from the bindings themselves: for the documentation, and for one's own keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from textual.app import App
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.keys import format_key
from textual.widgets import DataTable

from embedq_tui.console.app import Console
from embedq_tui.screens import ENTRIES
from embedq_tui.screens.articles.detail import ArticleDetailScreen
from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.screens.tasks.detail import TaskDetailScreen
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_worker.errors import SettingsError

_BASES = (ConsoleScreen, App, DataTable)


class Key(NamedTuple):
    """A key, or several that do the same.

    Attributes:
        place: Where it works.
        keys: As they are pressed.
        id: By which another key can be given to it.
        words: What it does.
    """

    place: str
    keys: str
    id: str
    words: str


def all_keys() -> Iterator[Key]:
    """Every key that has a name, place by place."""
    yield from _of("Everywhere", Console)
    yield from _of("Every screen", ConsoleScreen)
    yield from _of("Every list", KeyedTable)
    for entry in ENTRIES:
        yield from _of(entry.title, type(entry.build()))
    yield from _of("A task", TaskDetailScreen)
    yield from _of("An article", ArticleDetailScreen)


def _of(place: str, owner: type[DOMNode]) -> Iterator[Key]:
    """The keys of a class, and of what it is made of below the bases that have a place of their own."""
    for made_of in owner.__mro__:
        if made_of in _BASES and made_of is not owner:
            return
        yield from _named(place, vars(made_of).get("BINDINGS", ()))


def _named(place: str, bindings: Iterable[BindingType]) -> Iterator[Key]:
    for binding in bindings:
        if isinstance(binding, Binding) and binding.id:
            words = binding.tooltip or binding.description or binding.action.replace("_", " ").capitalize()
            yield Key(place, _shown(binding), binding.id, words)


def _shown(binding: Binding) -> str:
    return binding.key_display or " ".join(format_key(key.strip()) for key in binding.key.split(","))


def check_keymap(keymap: Mapping[str, str]) -> None:
    """See that keys of one's own are for bindings that exist.

    Raises:
        SettingsError: One is not.
    """
    known = {key.id for key in all_keys()}
    for name in keymap:
        if name not in known:
            raise SettingsError(f"[keys]: there is no binding {name!r}", "docs/console.md lists their names")


def markdown() -> str:
    """The keys as they stand in docs/console.md."""
    lines, place = [], ""
    for key in all_keys():
        if key.place != place:
            place = key.place
            lines += ["", f"### {place}", "", "| Key | Does | Name |", "|---|---|---|"]
        shown = key.keys.replace("|", "\\|")
        lines.append(f"| `{shown}` | {key.words} | `{key.id}` |")
    return "\n".join(lines).strip() + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
