"""Help: the keys of the current screen, read from its bindings."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from embedq_tui.rendering.keys import key
from embedq_tui.rendering.styles import HEAD, NAME, QUIET
from embedq_tui.screens import ENTRIES


class HelpScreen(ModalScreen[None]):
    """Shows the keys of the screen below.

    Args:
        below: The screen whose keys to show.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter", "dismiss", "Close", id="help.close")
    ]

    def __init__(self, below: Screen[Any]) -> None:
        super().__init__()
        self._below = below

    def compose(self) -> ComposeResult:
        """The keys, then the screens."""
        with VerticalScroll(classes="dialog") as scroll:
            scroll.border_title = "Keys"
            scroll.border_subtitle = key("help.close")
            yield Static(self._keys())
            yield Static(self._screens())

    def _keys(self) -> Table:
        table = Table.grid(padding=(0, 2))
        rows: dict[tuple[str, bool], list[str]] = {}
        for active in sorted(self._below.active_bindings.values(), key=self._rank):
            binding = active.binding
            if binding.system or binding.action.startswith("show("):
                continue
            text = _WORDS.get(binding.action) or binding.tooltip or binding.description
            if text:
                key = self.app.get_key_display(binding)
                rows.setdefault((text, active.enabled), []).append(key)
        for (text, enabled), keys in rows.items():
            style = NAME if enabled else QUIET
            words = Text(text) if enabled else Text(f"{text} (not available now)", QUIET)
            table.add_row(Text(" ".join(dict.fromkeys(keys)), style), words)
        return table

    def _rank(self, active: ActiveBinding) -> int:
        """Sort the screen's own keys first, then its widgets', the global ones, and those of any list."""
        if not active.binding.id:
            return 3
        return 0 if active.node is self._below else 2 if active.node is self.app else 1

    def _screens(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_row(Text("\nScreens", HEAD), "")
        for entry in ENTRIES:
            table.add_row(Text(key(f"show.{entry.name}"), NAME), Text(f"{entry.title}: {entry.summary}"))
        return table


_WORDS = {
    "cursor_down": "Down",
    "cursor_up": "Up",
    "page_up": "Page up",
    "page_down": "Page down",
    "scroll_top": "First row",
    "scroll_bottom": "Last row",
    "screen.copy_text": "Copy selected text; if none is selected, ^c quits",
}
