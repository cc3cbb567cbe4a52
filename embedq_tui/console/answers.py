"""Answers of the terminal that nobody waits for, such as those to the program that ran before."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from embedq_tui.console.pace import ANSWER

WAIT_S = 0.5
"""Seconds within which the rest of a sequence arrives."""

ESCAPE_S = 0.05
"""As long if only its first byte has: it may be a key. Serial lines deliver single bytes."""

_ANSWER = re.compile(
    r"\x1b(?:"
    r"\[[?>=][\d;:]*[ -#%-/]*[@-~]|"  # its kind, its keyboard; not $: Textual asks for its modes
    r"\[(?!48;)[\d;:]+[cntx]|"  # its state, its size; not 48: Textual asks for that, too
    r"\[(?:\d*;?\d*:|[\d;:]*\d{7})[\d;:]*[u~A-FHP-S]|"  # a key that no keyboard has, or its release
    r"[P\]X^_][^\x07\x1b]*(?:\x07|\x1b\\))"  # its name, its colours, the clipboard
)

_BEGUN = re.compile(r"\x1b(?:\[[?>=<]?[\d;:]*[ -/]*|[P\]X^_][^\x07\x1b]{0,10000}\x1b?)?\Z")


class Answers:
    """Takes answers out of what is typed: Textual takes a sequence that it does not know for keys.

    It also does so if the rest of a sequence arrives 0.1 s later, over a line that lost a packet. So what has
    begun is kept until it is complete.

    Args:
        answered: Called for each answer to the pace's request.
    """

    def __init__(self, answered: Callable[[], None]) -> None:
        self._answered = answered
        self._begun = ""
        self._since = 0.0

    @property
    def waiting(self) -> bool:
        """Whether something is kept; `rest` gives it."""
        return bool(self._begun)

    def without(self, text: str) -> str:
        """What was typed, without answers.

        Args:
            text: As read.
        """
        text = _ANSWER.sub(self._taken, self._begun + text)
        begun = _BEGUN.search(text)
        self._begun, self._since = begun[0] if begun else "", time.monotonic()
        return text.removesuffix(self._begun)

    def rest(self) -> str:
        """What began like a sequence, and was none."""
        if time.monotonic() - self._since < (ESCAPE_S if self._begun == "\x1b" else WAIT_S):
            return ""
        text, self._begun = self._begun, ""
        return text

    def _taken(self, answer: re.Match[str]) -> str:
        if answer[0] == ANSWER:
            self._answered()
        return ""
