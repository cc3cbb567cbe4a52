"""The line in which a filter is written, and filters that were given names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.events import Paste
from textual.suggester import Suggester
from textual.widgets import Input

from embedq_tui.dialogs.choose import Choice, ask_choice, ask_text
from embedq_tui.filters.saved_filters import LONGEST_NAME, load_filters, store_filters
from embedq_tui.filters.task_filter import is_id

if TYPE_CHECKING:
    from embedq_tui.console.app import Console


class Completion(Suggester):
    """Offers what a filter that is being written may become.

    Args:
        completed: What is written, with its last term whole; None where nothing offers itself.
    """

    def __init__(self, completed: Callable[[str], str | None]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._completed = completed

    async def get_suggestion(self, value: str) -> str | None:
        """It completed."""
        return self._completed(value)


class FilterLine(Input):
    """Takes a filter; offers what the last term may become.

    Args:
        completed: What is written, with its last term whole.
        placeholder: Shown where nothing is written.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Apply", id="filter.apply"),
        Binding("tab", "accept", "Complete", id="filter.complete"),
        Binding("ctrl+u", "delete_left_all", "Clear", id="filter.clear"),
        Binding("escape", "screen.back", "Leave", id="filter.leave"),
    ]

    def __init__(
        self,
        completed: Callable[[str], str | None],
        *,
        placeholder: str = "",
        id: str | None = None,  # noqa: A002 - as every widget calls it
    ) -> None:
        super().__init__(
            placeholder=placeholder,
            compact=True,
            suggester=Completion(completed),
            select_on_focus=False,  # focus comes a moment later than the first keys
            id=id,
        )
        self.display = False

    def allow_focus(self) -> bool:
        """Not while it is hidden: it comes first on a screen that opens, and kept what was typed."""
        return self.display and super().allow_focus()

    def begin(self, text: str) -> None:
        """Write on from a text; the next key is written already."""
        self.value = f"{text} " if text else ""
        self.cursor_position = len(self.value)
        self.display = True
        self.screen.set_focus(self)

    def on_paste(self, event: Paste) -> None:
        """An id is looked for among all, but for one that a term lacks which is begun."""
        if is_id(event.text.strip()) and not self.value[: self.cursor_position].rpartition(" ")[2]:
            self.value = ""

    def action_accept(self) -> None:
        """Take what is offered."""
        self.cursor_position = len(self.value)
        self.action_cursor_right()


async def save_filter(console: Console, text: str) -> None:
    """Give a filter a name. Call it in a worker of Textual.

    Args:
        console: Where it is asked for.
        text: The filter.

    Raises:
        SettingsError: The file of filters cannot be read or written.
    """
    saved = load_filters()
    name = await ask_text(
        console,
        "Save this filter as",
        note=text or "all tasks",
        complaint=lambda name: "" if 0 < len(name) <= LONGEST_NAME else f"1 to {LONGEST_NAME} characters",
    )
    if name is not None:
        store_filters({**saved, name: text})
        console.notify(f"Saved as {name}", markup=False)


async def recall_filter(console: Console) -> str | None:
    """Let the operator choose among the filters that have names. Call it in a worker of Textual.

    Args:
        console: Where it is asked for.

    Returns:
        The text of the filter; None where none was chosen.

    Raises:
        SettingsError: The file of filters cannot be read or written.
    """
    saved = load_filters()
    if not saved:
        console.notify("There are no saved filters yet: w saves the one that is shown", markup=False)
        return None
    choices = [Choice(name, name, text or "all tasks") for name, text in saved.items()]
    name = await ask_choice(console, "Saved filters", [*choices, Choice("", "Forget one of them")])
    if name == "":
        name = await ask_choice(console, "Forget which filter?", choices)
        if name is not None:
            store_filters({other: text for other, text in saved.items() if other != name})
        return None
    return None if name is None else saved[name]
