"""Answers of the terminal that nobody waits for are not keys."""

from __future__ import annotations

import pytest

from embedq_tui.console import answers
from embedq_tui.console.answers import Answers
from embedq_tui.console.pace import ANSWER

ANSWERS = (
    "\x1b[?62;22c",
    "\x1b[>41;354;0c",
    "\x1b[?1u",
    "\x1b[?997;1n",
    "\x1b[0n",
    "\x1b[4;600;800t",
    "\x1bP>|XTerm(370)\x1b\\",
    "\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\",
    "\x1b]52;c;aGVsbG8=\x07",
    "\x1b_Gi=1;OK\x1b\\",
    "\x1b[1114112u",
    "\x1b[97;1:3u",
    "\x1b[:R",
)

TYPED = (
    "a",
    "\x1b",
    "\x1b[A",
    "\x1b[1;5C",
    "\x1bOP",
    "\x1b[15~",
    "\x1b[<35;20;10M",
    "\x1b[97;5u",
    "\x1b[97;;101:769u",
    "\x1b[?2026;2$y",
    "\x1b[48;24;80;0;0t",
    "\x1b[200~pasted]?\x1b[201~",
)


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_no_keys_however_it_arrives(answer: str) -> None:
    taken = Answers(lambda: None)
    assert taken.without(f"2{answer}j") == "2j"
    for at in range(1, len(answer)):
        assert taken.without(answer[:at]) + taken.without(answer[at:]) == ""
    assert not taken.waiting


@pytest.mark.parametrize("typed", TYPED)
def test_keys_mouse_and_what_textual_asks_for_arrive(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Answers(lambda: None)
    monkeypatch.setattr(answers, "ESCAPE_S", 0.0)
    assert taken.without(typed) + taken.rest() == typed
    assert "".join(taken.without(character) for character in typed) + taken.rest() == typed


def test_what_only_began_like_an_answer_arrives_later(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Answers(lambda: None)
    assert taken.without("\x1b]") == taken.rest() == ""
    assert taken.waiting
    monkeypatch.setattr(answers, "WAIT_S", 0.0)
    assert taken.rest() == "\x1b]"
    assert not taken.waiting


def test_an_answer_to_the_pace_is_handed_on_however_it_arrives() -> None:
    heard: list[None] = []
    taken = Answers(lambda: heard.append(None))
    for at in range(1, len(ANSWER)):
        taken.without(ANSWER[:at])
        taken.without(ANSWER[at:])
        assert len(heard) == at
