"""What is sent to the terminal: it shows what Textual drew, and what it shows already is not sent again."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from embedq_tui.console.screen_buffer import ScreenBuffer

WIDTH, HEIGHT = 12, 3
STYLES = (
    "",
    "1",
    "7;38;2;1;2;3;48;2;4;5;6",
    "38;2;1;2;3;48;2;4;5;6",
    "1;38;5;48;48;5;38",
    "4;36",
    "31;49",
    "2;39;44",
    "38;5;9;101",
    "1;2;3",
    "1;9;35",
)
PLACES = st.tuples(st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 3))
PARTS = st.tuples(PLACES, st.text("ab ─…", min_size=1, max_size=3), st.sampled_from(STYLES))
LINES = st.tuples(
    st.tuples(st.integers(0, HEIGHT - 1), st.just(0)),
    st.sampled_from(["日本語 slug ", "ab" + 10 * " ", 3 * "e\u0301" + 9 * " "]),
    st.sampled_from(STYLES),
)


def piece(y: int, x: int, text: str, style: str = "") -> str:
    """A piece of a frame as Textual writes it."""
    return f"\x1b[{y + 1};{x + 1}H" + (f"\x1b[{style}m{text}\x1b[0m" if style else text)


def frame(*pieces: str) -> str:
    return "".join(pieces) + "\x1b[1;1H"


def whole(*lines: str) -> str:
    return frame("\n".join(piece(y, 0, line) for y, line in enumerate(lines)))


class Screen(pyte.Screen):
    """A terminal."""

    def __init__(self) -> None:
        super().__init__(WIDTH, HEIGHT)
        self._stream = pyte.Stream(self)
        self._stream.feed("\x1b[?7l")

    def write(self, data: str) -> None:
        self._stream.feed(data.replace("\n", "\r\n"))

    def cells(self) -> list[object]:
        """What is seen; the colour of a blank is not."""
        return [
            self.buffer[y][x]
            if self.buffer[y][x].data != " " or self.buffer[y][x].reverse or self.buffer[y][x].underscore
            else self.buffer[y][x].bg
            for y in range(HEIGHT)
            for x in range(WIDTH)
        ]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.lists(PARTS, max_size=4) | st.lists(LINES, max_size=2), st.booleans())))
def test_the_terminal_shows_what_was_drawn(
    frames: list[tuple[list[tuple[tuple[int, int], str, str]], bool]],
) -> None:
    buffer, drawn, shown = ScreenBuffer(), Screen(), Screen()
    for pieces, is_ready in frames:
        narrow = all(len(text) <= 3 for _, text, _ in pieces)
        first = [piece(y, 0, " " * WIDTH) for y in {y for (y, _), _, _ in pieces}] if narrow else []
        data = frame(*first, *(piece(y, x, text, style) for (y, x), text, style in pieces))
        drawn.write(data)
        assert buffer.take(data, HEIGHT)
        if is_ready:
            shown.write(buffer.changes())
    shown.write(buffer.changes())
    assert shown.cells() == drawn.cells()
    assert (shown.cursor.x, shown.cursor.y) == (drawn.cursor.x, drawn.cursor.y) or not frames
    assert buffer.changes() == ""


def test_only_what_differs_is_sent() -> None:
    buffer = ScreenBuffer()
    buffer.take(whole("a line", "12:00:01", "another"), HEIGHT)
    assert "another" in buffer.changes()
    buffer.take(whole("a line", "12:00:02", "another"), HEIGHT)
    assert buffer.changes() == "\x1b[2;8H2\x1b[1;1H"


def test_frames_that_the_terminal_did_not_wait_for_are_one() -> None:
    buffer = ScreenBuffer()
    buffer.take(whole("a line", "0", "another"), HEIGHT)
    buffer.changes()
    for number in range(1, 10):
        buffer.take(frame(piece(1, 0, str(number))), HEIGHT)
    assert buffer.changes() == "\x1b[2;1H9\x1b[1;1H"


@pytest.mark.parametrize(
    "text", ["1\ufe0f\u20e31\ufe0f\u20e3", "\u0926\u0947\u0935", "\u200d\u0e33", "\U0001f3f4\U000e0067"]
)
def test_text_on_whose_width_terminals_disagree_moves_nothing(text: str) -> None:
    buffer, shown = ScreenBuffer(), Screen()
    for line in (WIDTH * "#", text + (8 - cell_len(text)) * " " + "|end"):
        buffer.take(whole("", line, ""), HEIGHT)
        shown.write(buffer.changes())
    cells = [shown.buffer[1][x].data for x in range(WIDTH)]
    assert cells[8:] == ["|", "e", "n", "d"]
    assert "#" not in cells


def test_a_line_on_whose_width_terminals_disagree_is_sent_whole() -> None:
    buffer = ScreenBuffer()
    buffer.take(whole("\N{WHITE HEAVY CHECK MARK} line 1", "", ""), HEIGHT)
    buffer.changes()
    buffer.take(whole("\N{WHITE HEAVY CHECK MARK} line 2", "", ""), HEIGHT)
    assert "\N{WHITE HEAVY CHECK MARK}\x1b[1;3H line 2" in buffer.changes()


def test_what_the_terminal_lost_is_sent_again() -> None:
    buffer = ScreenBuffer()
    data = whole("a line", "1", "another")
    buffer.take(data, HEIGHT)
    buffer.changes()
    buffer.lose()
    buffer.take(data, HEIGHT)
    assert "another" in buffer.changes()


def test_what_was_dropped_is_not_sent() -> None:
    buffer = ScreenBuffer()
    buffer.take(whole("a line", "1", "another"), HEIGHT)
    buffer.drop()
    assert buffer.changes() == ""


@pytest.mark.parametrize("data", ["\x07", "\x1b[?25l", "\x1b]52;c;eA==\x07", "\x1b[0m\x1b[2J"])
def test_what_is_no_frame_is_left_to_the_caller(data: str) -> None:
    assert not ScreenBuffer().take(data, HEIGHT)


def test_a_frame_is_shown_at_once_where_the_terminal_can() -> None:
    buffer = ScreenBuffer()
    for data in ("\x1b[?2026h", whole("a line", "1", "another"), "\x1b[?2026l"):
        assert buffer.take(data, HEIGHT)
    sent = buffer.changes()
    assert (sent[:8], sent[-8:]) == ("\x1b[?2026h", "\x1b[?2026l")


def test_a_screen_that_became_smaller_is_drawn_before_anything_of_the_larger_one() -> None:
    buffer = ScreenBuffer()
    buffer.take(whole("a line", "1", "another"), HEIGHT)
    buffer.lose()
    buffer.take(whole("a line", "1"), HEIGHT - 1)
    assert "another" not in buffer.changes()
