"""Frames are held back while the terminal has not drawn the ones before."""

from __future__ import annotations

import pytest

from embedq_tui.console import pace
from embedq_tui.console.pace import AHEAD, EACH, REQUEST, Pace


def answering() -> Pace:
    """For a terminal that has answered once."""
    begun = Pace()
    assert begun.sent(EACH) == REQUEST
    begun.answered()
    return begun


def test_little_is_on_the_way_at_a_time() -> None:
    slow = answering()
    assert slow.sent(5_000) == REQUEST
    assert slow.allows()
    assert slow.sent(AHEAD) == ""
    assert not slow.allows()
    slow.answered()
    assert slow.allows()
    assert slow.sent(1) == REQUEST


def test_small_frames_ask_nothing() -> None:
    idle = answering()
    assert [idle.sent(14) for _ in range(EACH // 14)] == [""] * (EACH // 14)
    assert idle.sent(0) == ""


def test_a_terminal_that_answers_nothing_is_asked_once_and_gets_everything() -> None:
    mute = Pace()
    assert [mute.sent(EACH), *(mute.sent(5_000) for _ in range(9))] == [REQUEST] + [""] * 9
    assert mute.allows()
    mute.settle()


def test_a_lost_answer_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = answering()
    slow.sent(EACH)
    slow.sent(AHEAD)
    monkeypatch.setattr(pace, "PATIENCE_S", 0.0)
    assert slow.allows()
    assert slow.allows()
    slow.settle()
