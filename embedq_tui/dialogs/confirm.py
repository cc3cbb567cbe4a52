"""The question before something is done: it starts on No."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from embedq_tui.dialogs.dialog import Place, SeenFirst, button, text_of


class Decision(Enum):
    """What the operator said."""

    NO = auto()
    YES = auto()
    STAGED = auto()


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What is asked.

    Attributes:
        title: The question: exactly what will be done, to how many.
        lines: What follows from it.
        yes: Label of the button that does it.
        word: Has to be typed first; empty for none.
        staged: It can be done in stages.
        danger: It destroys.
    """

    title: str
    lines: Sequence[str]
    yes: str
    word: str = ""
    staged: bool = False
    danger: bool = False


class Confirm(SeenFirst[Decision]):
    """Asks. What was typed before the question could be read does not answer it, but for a no.

    Args:
        confirmation: What is asked.
        place: Which database it is about.
    """

    LEAVING = frozenset({"give_up", "say('NO')"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "say('YES')", "Yes", id="confirm.yes"),
        Binding("n", "say('NO')", "No", id="confirm.no"),
        Binding("s", "say('STAGED')", "In stages", id="confirm.staged"),
    ]

    def __init__(self, confirmation: Confirmation, place: Place | None = None) -> None:
        super().__init__(confirmation.title, place, danger=confirmation.danger)
        self._confirmation = confirmation

    def lines(self) -> Iterable[Widget]:
        """What follows from it."""
        return [Static(text_of(line)) for line in self._confirmation.lines]

    def fields(self) -> Iterable[Widget]:
        """The word to be typed."""
        if word := self._confirmation.word:
            yield Input(placeholder=f"type {word} to go on, esc to leave it", id="word", compact=True)

    def buttons(self) -> Sequence[Button]:
        """No, yes, and by and by."""
        asked = self._confirmation
        found = [
            button(self._hinted("No", "n"), "NO"),
            button(self._hinted(asked.yes, "y"), "YES", danger=asked.danger, primary=not asked.danger),
        ]
        if asked.staged:
            found.append(button(self._hinted("In stages", "s"), "STAGED"))
        return found

    def _hinted(self, label: str, key: str) -> str:
        """With its key, where keys are not for typing the word."""
        return label if self._confirmation.word else f"{label} ({key})"

    def on_mount(self) -> None:
        """Start where nothing is done."""
        super().on_mount()
        self.set_focus(self.query_one("#word" if self._confirmation.word else "#NO"))
        self._permit("")

    @on(Input.Changed, "#word")
    def _typed(self, event: Input.Changed) -> None:
        self._permit(event.value)

    @on(Input.Submitted, "#word")
    def _entered(self, event: Input.Submitted) -> None:
        self.pressed("YES")

    def _permit(self, typed: str) -> None:
        for name in ("#YES", "#STAGED"):
            for found in self.query(name).results(Button):
                found.disabled = not self._permitted(typed)

    def _permitted(self, typed: str) -> bool:
        word = self._confirmation.word
        return not word or _bare(typed) == _bare(word)

    def action_say(self, decision: str) -> None:
        """A key instead of a button; where a word is to be typed, only the button counts."""
        if decision == "NO" or not self._confirmation.word:
            self.pressed(decision)

    def pressed(self, button: str) -> None:
        """Answer; yes only where the word is there."""
        decision = Decision[button]
        typed = self.query_one("#word", Input).value if self._confirmation.word else ""
        if decision is Decision.STAGED and not self._confirmation.staged:
            return
        if decision is Decision.NO or self._permitted(typed):
            self.end(decision)

    def action_give_up(self) -> None:
        """No."""
        self.end(Decision.NO)


def _bare(word: str) -> str:
    """A number may be typed with separators or without, a word in any case."""
    return word.strip().replace(",", "").lower()
