"""The line for typing a filter."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Paste
from textual.suggester import Suggester
from textual.widgets import Input

from embedq_tui.filters.task_filter import is_id


class Completion(Suggester):
    """Suggests completions for a filter being typed.

    Args:
        completed: Completes the last term of a text; None if there is no completion.
    """

    def __init__(self, completed: Callable[[str], str | None]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._completed = completed

    async def get_suggestion(self, value: str) -> str | None:
        """Complete the text."""
        return self._completed(value)


class FilterLine(Input):
    """The input for a filter; suggests completions of the last term.

    Args:
        completed: Completes the last term of a text.
        placeholder: Shown while the line is empty.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Apply", id="filter.apply"),
        Binding("tab,shift+tab", "accept", "Complete", id="filter.complete"),
        Binding("ctrl+u", "delete_left_all", "Clear", id="filter.clear"),
        Binding("escape", "screen.back", "Close", id="filter.leave"),
    ]

    def __init__(
        self, completed: Callable[[str], str | None], *, placeholder: str = "", id: str | None = None
    ) -> None:
        super().__init__(
            placeholder=placeholder,
            compact=True,
            suggester=Completion(completed),
            select_on_focus=False,  # the focus arrives a moment after the first keys
            id=id,
        )
        self.display = False

    def allow_focus(self) -> bool:
        """Refuse the focus while hidden: as the first widget it would swallow keys meant for a new screen."""
        return self.display and super().allow_focus()

    def begin(self, text: str) -> None:
        """Start editing a text; the very next key goes into the line."""
        self.value = f"{text} " if text else ""
        self.cursor_position = len(self.value)
        self.display = True
        self.screen.set_focus(self)

    def on_paste(self, event: Paste) -> None:
        """A pasted id replaces the filter, unless it completes a term being typed such as ``worker:``."""
        if is_id(event.text.strip()) and not self.value[: self.cursor_position].rpartition(" ")[2]:
            self.value = ""

    def action_accept(self) -> None:
        """Accept the suggestion."""
        self.cursor_position = len(self.value)
        self.action_cursor_right()
