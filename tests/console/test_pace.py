"""Frames are held back while the terminal has not drawn the ones before."""

from __future__ import annotations

import time

import pytest

from embedq_tui.console.pace import AHEAD, EACH, OVERDUE_S, REQUEST, STILL_S, Pace


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


def test_a_lost_answer_does_not_stop_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    quick = answering()
    assert quick.sent(AHEAD) == REQUEST
    assert quick.sent(AHEAD) == ""
    asked = []
    for second in range(1, 2 * int(OVERDUE_S)):
        clock.now += 1.0
        if quick.allows():
            asked.append((second, quick.sent(AHEAD) == REQUEST))
    assert asked == [(1, False), (2, False), (4, False), (8, False), (16, True)]
    quick.answered()
    clock.now += OVERDUE_S
    assert quick.allows(), "the answer to the later request came, so the other one was lost"
    assert quick.sent(AHEAD) == REQUEST
    quick.answered()
    assert [quick.sent(AHEAD), quick.allows(), quick.sent(AHEAD), quick.allows()] == [
        REQUEST,
        True,
        "",
        False,
    ]
    quick.answered()
    assert quick.allows()


def test_a_terminal_that_was_detached_for_long_is_asked_soon_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked meanwhile, it never answers."""
    clock = Clock(monkeypatch)
    away = answering()
    line = Line(away, 0)
    for _ in range(3_600):
        clock.now += 1
        line.draw(1_000)
    back = Line(away, 100_000)
    for _ in range(int(STILL_S)):
        clock.now += 1
        back.draw(1_000)
    assert back.queued
    drawn = []
    for _ in range(20):
        clock.now += 1
        back.carry()
        back.draw(1_000)
        drawn.append(back.queued)
    assert all(drawn[-5:])


class Line:
    """Between console and terminal: it takes in everything, and carries so many bytes a second.

    Args:
        pace: Is told of the terminal's answers.
        rate: Bytes a second.
    """

    def __init__(self, pace: Pace, rate: int) -> None:
        self._pace, self._rate = pace, rate
        self._requests: list[int] = []
        self.queued = 0

    def carry(self) -> None:
        """Let a second pass."""
        self.queued = max(self.queued - self._rate, 0)
        self._requests = [ahead - self._rate for ahead in self._requests]
        while self._requests and self._requests[0] <= 0:
            self._requests.pop(0)
            self._pace.answered()

    def draw(self, size: int) -> None:
        """Send a frame, if it may be sent now."""
        frame = size if self._pace.allows() else 0
        request = self._pace.sent(frame)
        self.queued += frame + len(request)
        if request:
            self._requests.append(self.queued)


@pytest.mark.parametrize(("rate", "frame"), [(1_000, 2_000), (2_000, 8_000), (5_000, 8_000)])
def test_on_a_slow_line_frames_do_not_pile_up(monkeypatch: pytest.MonkeyPatch, rate: int, frame: int) -> None:
    clock = Clock(monkeypatch)
    slow = answering()
    line = Line(slow, rate)
    line.draw(20_000)  # a whole screen of 200x60: on the slower lines, longer than anybody waits
    for second in range(300):
        clock.now += 1
        line.carry()
        line.draw(frame)
        if second >= 100:
            assert line.queued <= 5 * frame


def test_while_the_line_carries_nothing_frames_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    line = Line(answering(), 0)
    for _ in range(300):
        clock.now += 1
        line.draw(2_000)
    assert line.queued <= 12 * 2_000


def test_the_last_answer_is_not_left_to_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    slow = answering()
    line = Line(slow, 2_000)
    line.draw(15_000)

    def pass_time(seconds: float) -> None:
        clock.now += 1
        line.carry()

    monkeypatch.setattr(time, "sleep", pass_time)
    slow.settle()
    assert not line.queued
    line.draw(1_000)
    monkeypatch.setattr(line, "carry", lambda: None)
    slow.settle()  # a lost one is not waited for for ever
