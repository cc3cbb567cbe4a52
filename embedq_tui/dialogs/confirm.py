"""The confirmation dialog. It starts on No."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from embedq_tui.dialogs.dialog import DatabaseLabel, SeenFirst, button, text_of, with_key
from embedq_tui.rendering.keys import key


class Decision(Enum):
    """The operator's answer."""

    NO = auto()
    YES = auto()
    STAGED = auto()


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What to ask.

    Attributes:
        title: The question: exactly what will be done, to how many.
        lines: The consequences.
        yes: Label of the button that confirms.
        word: Word that must be typed to confirm; empty for none.
        staged: Offer to do it in stages.
        danger: It is destructive.
    """

    title: str
    lines: Sequence[str]
    yes: str
    word: str = ""
    staged: bool = False
    danger: bool = False


class Confirm(SeenFirst[Decision]):
    """Asks. Keys pressed before the question was visible are ignored, except those that say no.

    Args:
        confirmation: What to ask.
        database: The database it concerns.
    """

    LEAVING = frozenset({"give_up", "say('NO')"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "say('YES')", "Yes", id="confirm.yes"),
        Binding("n", "say('NO')", "No", id="confirm.no"),
        Binding("s", "say('STAGED')", "In stages", id="confirm.staged"),
    ]

    def __init__(self, confirmation: Confirmation, database: DatabaseLabel | None = None) -> None:
        super().__init__(confirmation.title, database, danger=confirmation.danger)
        self._confirmation = confirmation

    def lines(self) -> Iterable[Widget]:
        """The consequences."""
        return [Static(text_of(line)) for line in self._confirmation.lines]

    def fields(self) -> Iterable[Widget]:
        """The input for the word to type."""
        if word := self._confirmation.word:
            yield Input(
                placeholder=f"{word}, then enter; {key('dialog.back')}: back", id="word", compact=True
            )

    def buttons(self) -> Sequence[Button]:
        """No, yes, and in stages."""
        asked = self._confirmation
        found = [
            button(self._hinted("No", "confirm.no"), "NO"),
            button(
                self._hinted(asked.yes, "confirm.yes"), "YES", danger=asked.danger, primary=not asked.danger
            ),
        ]
        if asked.staged:
            found.append(button(self._hinted("In stages", "confirm.staged"), "STAGED"))
        return found

    def _hinted(self, label: str, name: str) -> str:
        """A label with its key, unless keys are needed to type the word."""
        return label if self._confirmation.word else with_key(label, name)

    def on_mount(self) -> None:
        """Start on the harmless choice."""
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
        """Answer by key; if a word must be typed, only the buttons confirm."""
        if decision == "NO" or not self._confirmation.word:
            self.pressed(decision)

    def pressed(self, button: str) -> None:
        """Answer; a yes counts only if the word has been typed."""
        decision = Decision[button]
        typed = self.query_one("#word", Input).value if self._confirmation.word else ""
        if decision is Decision.STAGED and not self._confirmation.staged:
            return
        if decision is Decision.NO or self._permitted(typed):
            self.end(decision)

    def action_give_up(self) -> None:
        """Answer no."""
        self.end(Decision.NO)


def _bare(word: str) -> str:
    """Normalise: numbers with or without separators, words in any case."""
    return word.strip().replace(",", "").lower()
