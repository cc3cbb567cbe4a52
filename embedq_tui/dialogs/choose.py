"""Small questions: choose from a list, or enter a line of text."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from rich.text import Text
from textual import on
from textual.app import App
from textual.binding import Binding, BindingType
from textual.suggester import Suggester
from textual.widget import Widget
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from embedq_tui.dialogs.dialog import Dialog, button, show, text_of, with_key
from embedq_worker.text import printable_line

R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Choice(Generic[T_co]):
    """An option to choose.

    Attributes:
        value: The result if it is chosen.
        label: Its text.
        note: A short remark after the label.
    """

    value: T_co
    label: str
    note: str = ""


async def ask_choice(app: App[Any], title: str, choices: Sequence[Choice[T]], *, start: int = 0) -> T | None:
    """Let the operator choose from a list. Call it in a Textual worker.

    Args:
        app: The application to show it in.
        title: The question.
        choices: The options.
        start: Initial position of the cursor.

    Returns:
        The chosen value; None if the operator went back.
    """
    place = await show(app, _Choose(title, [_label(choice) for choice in choices], start))
    return None if place is None else choices[place].value


async def ask_text(
    app: App[Any],
    title: str,
    *,
    value: str = "",
    note: str = "",
    placeholder: str = "",
    complaint: Callable[[str], str] = lambda text: "",
    suggester: Suggester | None = None,
) -> str | None:
    """Let the operator enter a line of text. Call it in a Textual worker.

    Args:
        app: The application to show it in.
        title: The question.
        value: Initial text.
        note: A short remark after the label.
        placeholder: Shown while the line is empty.
        complaint: Returns what is wrong with a text, or "" to accept it.
        suggester: Suggests completions; tab or the right arrow accepts one.

    Returns:
        The text without surrounding white space; None if the operator went back.
    """
    line = TextLine(
        value, placeholder=printable_line(placeholder), suggester=suggester, id="line", compact=True
    )
    return await show(app, _Write(title, line, note, complaint))


class OneOf(Dialog[R | None], Generic[R]):
    """Chooses from a list with a cursor.

    Args:
        title: The question.
        options: The texts to choose from.
        start: Initial position of the cursor.
    """

    DEFAULT_CSS = """
    OneOf OptionList {
        height: auto; max-height: 100%; border: none; background: $panel; padding: 0;
        text-wrap: nowrap; text-overflow: ellipsis;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "move(1)", "Down", show=False, id="choose.down"),
        Binding("k", "move(-1)", "Up", show=False, id="choose.up"),
    ]

    def __init__(self, title: str, options: Sequence[Text], start: int) -> None:
        super().__init__(title)
        self._options = options
        self._start = start

    def chosen(self, at: int) -> None:
        """React to a choice.

        Args:
            at: Its index in the list.
        """
        raise NotImplementedError

    def lines(self) -> Iterable[Widget]:
        """The list."""
        yield OptionList(*(Option(option) for option in self._options), compact=True)

    def buttons(self) -> Sequence[Button]:
        """A button to go back."""
        return [button(with_key("Back", "dialog.back"), "back")]

    def on_mount(self) -> None:
        """Focus the list."""
        super().on_mount()
        found = self.query_one(OptionList)
        self.set_focus(found)
        found.highlighted = self._start

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        found = self.query_one(OptionList)
        if by > 0:
            found.action_cursor_down()
        else:
            found.action_cursor_up()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.chosen(event.option_index)

    def action_give_up(self) -> None:
        """Go back without a choice."""
        self.end(None)


class _Choose(OneOf[int]):
    def chosen(self, at: int) -> None:
        """End with its index."""
        self.end(at)


def _label(choice: Choice[Any]) -> Text:
    label = Text(printable_line(choice.label))
    return label.append(f"  {printable_line(choice.note)}", "dim") if choice.note else label


class PathCompletion(Suggester):
    """Completes paths of local files and folders."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """Suggest the first match, a folder with a slash; hidden files only after a typed dot."""
        return await asyncio.to_thread(_path_beginning, value)


def _path_beginning(text: str) -> str | None:
    folder, name = os.path.split(text)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries if _begins(entry.name, name))
    except (OSError, ValueError):
        return None
    if not found or not found[0][0].isprintable():
        return None
    best, is_folder = found[0]
    return text + best[len(name) :] + ("/" if is_folder else "")


def _begins(name: str, beginning: str) -> bool:
    return name.startswith(beginning) and name != beginning and (bool(beginning) or not name.startswith("."))


class TextLine(Input):
    """A line in which tab accepts a suggestion, or else moves on to the buttons."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "accept", "Complete", show=False, id="line.accept")
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Accepting needs a text to complete."""
        if action == "accept":
            return self.suggester is not None and bool(self.value) and self.cursor_position == len(self.value)
        return super().check_action(action, parameters)

    async def action_accept(self) -> None:
        """Accept the suggestion, which may not have been made yet when one types fast."""
        assert self.suggester is not None
        if found := await self.suggester.get_suggestion(self.value):
            self.value, self.cursor_position = found, len(found)
        else:
            self.screen.focus_next()


class _Write(Dialog[str | None]):
    def __init__(self, title: str, line: TextLine, note: str, complaint: Callable[[str], str]) -> None:
        super().__init__(title)
        self._line = line
        self._note = note
        self._complaint = complaint

    def lines(self) -> Iterable[Widget]:
        """The note, and what is wrong with the text."""
        if self._note:
            yield Static(text_of(self._note))
        yield Static(id="complaint")

    def fields(self) -> Iterable[Widget]:
        """The line."""
        yield self._line

    def buttons(self) -> Sequence[Button]:
        """OK and back."""
        return [button("OK", "ok", primary=True), button(with_key("Back", "dialog.back"), "back")]

    def on_mount(self) -> None:
        """Focus the line."""
        super().on_mount()
        self.set_focus(self._line)

    @on(Input.Submitted, "#line")
    def _entered(self, event: Input.Submitted) -> None:
        self.pressed("ok")

    def pressed(self, button: str) -> None:
        """Accept the text if it is valid."""
        if button != "ok":
            self.action_give_up()
            return
        text = self._line.value.strip()
        if wrong := self._complaint(text):
            self.query_one("#complaint", Static).update(text_of(wrong, "red"))
            self.set_focus(self._line)
        else:
            self.end(text)

    def action_give_up(self) -> None:
        """Go back without a text."""
        self.end(None)
