"""Frames are held back while the terminal has not drawn the ones before."""

from __future__ import annotations

import time

import pytest

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


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def test_while_an_answer_is_overdue_there_is_a_frame_a_second_and_then_it_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    quick = answering()
    assert quick.sent(AHEAD) == REQUEST
    assert quick.sent(AHEAD) == ""
    for _ in range(5):
        assert not quick.allows()
        clock.now += 1.0
        assert quick.allows()
        assert quick.sent(AHEAD) == ""
    clock.now += 5.0
    assert quick.allows()
    assert [quick.sent(AHEAD) for _ in range(5)] == [REQUEST] + [""] * 4
    assert quick.allows(), "until it answers, nothing is held back"
    quick.answered()
    quick.sent(AHEAD)
    quick.sent(AHEAD)
    assert not quick.allows()


def test_on_a_slow_line_frames_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    slow = answering()
    sent = 0
    for second in range(100):
        clock.now += 1
        if second % 5 == 0:
            slow.answered()
        if slow.allows():
            slow.sent(2_000)
            sent += 1
    assert sent <= 2 * 20 + 4, "two per answer, and few at the beginning"
