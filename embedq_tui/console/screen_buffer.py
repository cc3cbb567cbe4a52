"""What the terminal shows, and what it should show: only the difference is sent to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby, pairwise
from operator import itemgetter
from threading import RLock
from typing import NamedTuple

from rich.cells import cell_len

_PIECE = re.compile(r"\x1b\[([\d;]*)([Hm])|([^\x00-\x1f\x7f]+)|\n")
"""What Textual's frames consist of: cursor moves, colours, text; a move follows each line break."""

_SYNCHRONIZED = ("\x1b[?2026h", "\x1b[?2026l")
"""What Textual writes around each frame if the terminal then shows it at once."""

_JOINER = "\u200d"

_NEAR = 6
"""Unchanged cells between changed ones that are sent again: moving the cursor takes as many bytes."""

_OF_MANY = r"(?:5;\d+|2;\d+;\d+;\d+)"

_PART = re.compile(rf"(38;{_OF_MANY}|3[0-79]|9[0-7])|(48;{_OF_MANY}|4[0-79]|10[0-7])|(\d+)")
"""Colour, colour behind, and attribute in the parameters of SGR, the sequence that sets them."""

_ENDS = {"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "6": "25", "7": "27", "8": "28", "9": "29"}
_ENDS |= {"21": "24", "51": "54", "52": "54", "53": "55"}
"""The attributes, and what ends each."""

_SEEN_ON_BLANKS = frozenset(("4", "7", "9", "21", "51", "52", "53"))
"""Attributes that show on a blank: lines, frames, reversed colours."""


class _Style(NamedTuple):
    """How a cell is drawn, as parameters of SGR.

    Attributes:
        attributes: Bold, underlined and the like.
        fore: Its colour; "" is the terminal's own, None is any, for a blank that does not show it.
        back: The colour behind it.
    """

    attributes: frozenset[str] = frozenset()
    fore: str | None = ""
    back: str = ""


_Cell = tuple[str, _Style]
"""A character with what combines with it, "" in the second cell of a wide one; and its style."""

_PLAIN = _Style()
_BLANK = (" ", _Style(fore=None))


class ScreenBuffer:
    """Takes frames as Textual writes them, and says what to send for them.

    Textual draws a changed line from end to end, with all colours anew for each of its pieces, and many
    lines that did not change. On a slow line, output piles up in front of the answer to a key.
    Frames that follow each other faster than the terminal takes them become one here.
    """

    def __init__(self) -> None:
        self._lock = RLock()  # a signal may stop the console while it draws
        self._wanted: dict[int, list[_Cell]] = {}
        self._shown: dict[int, list[_Cell]] = {}
        self._touched: set[int] = set()
        self._cursor = self._cursor_shown = ""
        self._style: _Style | None = None
        self._synchronized = False
        self._lost = True

    def take(self, data: str, height: int) -> bool:
        """Take a frame.

        Args:
            data: What Textual writes.
            height: Lines of the screen.

        Returns:
            Whether it is a frame; anything else is to be sent as it is.
        """
        if data in _SYNCHRONIZED:
            self._synchronized = True
            return True
        pieces = list(_PIECE.finditer(data))
        if not pieces or sum(match.end() - match.start() for match in pieces) != len(data):
            return False
        with self._lock:
            self._draw(pieces, height)
        return True

    def changes(self) -> str:
        """What to send so that the terminal shows the last frame."""
        with self._lock:
            sent = "".join(self._parts())
            self._touched.clear()
            if not sent and self._cursor == self._cursor_shown:
                return ""
            self._cursor_shown = self._cursor
            sent += self._cursor
            return sent.join(_SYNCHRONIZED) if self._synchronized else sent

    def lose(self) -> None:
        """Send the next frame that draws the whole screen whole: the terminal shows something else."""
        with self._lock:
            self._lost = True

    def drop(self) -> None:
        """Send nothing of what was drawn so far."""
        with self._lock:
            self._touched.clear()
            self._cursor = self._cursor_shown
            self._style = None
            self._lost = True

    def _draw(self, pieces: list[re.Match[str]], height: int) -> None:
        places = [match[1] for match in pieces if match[2] == "H"][:-1]  # the last one is the cursor's
        lines = [f"{line};1" for line in range(1, height + 1)]
        if places == lines:
            self._wanted.clear()
            self._touched.clear()
        if self._lost and set(lines) <= set(places):
            self._shown.clear()
            self._style = None
            self._lost = False
        x = y = 0
        style = ""
        for match in pieces:
            numbers, kind, text = match.groups()
            if kind == "H":
                y, x = (int(number) - 1 for number in numbers.split(";"))
                self._cursor = match[0]
            elif kind == "m":
                style = "" if numbers in ("", "0") else numbers
            elif text:
                x += self._put(y, x, text, style)

    def _put(self, y: int, x: int, text: str, style: str) -> int:
        """Draw text, and return the number of its cells."""
        cells = _cells(text, style)
        line = self._wanted.setdefault(y, [])
        end = x + len(cells)
        line.extend([_BLANK] * (x - len(line)))
        cut = x
        while 0 < cut < len(line) and not line[cut][0]:  # half of a wide character remains, to the left
            cut -= 1
        line[cut:end] = [_BLANK] * (x - cut) + cells
        while end < len(line) and not line[end][0]:  # to the right
            line[end] = _BLANK
            end += 1
        self._touched.add(y)
        return len(cells)

    def _parts(self) -> Iterator[str]:
        """What differs, in terminal sequences; the next ones go on in the last colours."""
        for y in sorted(self._touched):
            wanted = self._wanted[y]
            for start, end, odd in _changed(self._shown.get(y, []), wanted):
                move = f"\x1b[{y + 1};{start + 1}H"
                yield move
                if odd:
                    sequence, self._style = _step(self._style, wanted[start][1])
                    yield sequence + " " * (end - start) + move
                for style, cells in groupby(wanted[start:end], itemgetter(1)):
                    sequence, self._style = _step(self._style, style)
                    yield sequence
                    yield "".join(text for text, _ in cells)
            self._shown[y] = wanted.copy()


def _changed(shown: list[_Cell], wanted: list[_Cell]) -> Iterator[tuple[int, int, bool]]:
    """Where to draw a line: from each of these cells up to the other; and whether they are odd.

    Terminals disagree on the width of odd characters. A line that has any is drawn whole; each run of them on
    blanks, and what follows in its own place: so no column moves, and nothing remains between them.
    """
    if shown == wanted:
        return
    if len(shown) != len(wanted) or not all(_is_narrow(text) for text, _ in (*shown, *wanted)):
        odd = [not _is_narrow(text) or not after for (text, _), (after, _) in pairwise([*wanted, _BLANK])]
        for is_odd, run in groupby(range(len(wanted)), odd.__getitem__):
            start, *rest = run
            yield start, start + len(rest) + 1, is_odd
        return
    start = end = -1
    for at, (before, after) in enumerate(zip(shown, wanted, strict=True)):
        if before != after:
            if start >= 0 and at - end > _NEAR:
                yield start, end, False
                start = -1
            start, end = (at if start < 0 else start), at + 1
    yield start, end, False


def _is_narrow(text: str) -> bool:
    """Whether this is Latin, a symbol or a part of a box or plot: one cell wide on every terminal."""
    return len(text) == 1 and (text < "\u0300" or "\u2000" <= text < "\u2e80")


def _cells(text: str, parameters: str) -> list[_Cell]:
    """A cell for each that Textual counts."""
    style, blank = _styles(parameters)
    if text.isascii():
        return [blank if character == " " else (character, style) for character in text]
    cells: list[_Cell] = []
    first, joins = 0, False
    for character in text:
        if cells and (joins or not cell_len(character)):
            cells[first] = (cells[first][0] + character, style)
        elif cell_len(character) and not joins:
            first = len(cells)
            cells.append(blank if character == " " else (character, style))
        if cells:
            cells += [("", style)] * (cell_len(cells[first][0]) - len(cells) + first)
        joins = character == _JOINER
    return cells + [("", style)] * (cell_len(text) - len(cells))


@lru_cache(1024)
def _styles(parameters: str) -> tuple[_Style, _Cell]:
    """The style of characters, and a blank in it."""
    attributes, fore, back = set(), "", ""
    for colour, behind, attribute in _PART.findall(parameters):
        fore, back = colour or fore, behind or back
        attributes |= {attribute} & _ENDS.keys()
    style = _Style(frozenset(attributes), "" if fore == "39" else fore, "" if back == "49" else back)
    return style, (" ", style if attributes & _SEEN_ON_BLANKS else _Style(fore=None, back=style.back))


@lru_cache(1024)
def _step(now: _Style | None, wanted: _Style) -> tuple[str, _Style]:
    """The SGR sequence from one style, None if unknown, to another; and the style it leads to."""
    if now is None:
        sequence, style = _step(_PLAIN, wanted)
        return f"\x1b[m{sequence}", style
    if wanted.fore is None:
        wanted = _Style(now.attributes - _SEEN_ON_BLANKS, now.fore, wanted.back)
    ended = now.attributes - wanted.attributes
    parts = sorted({_ENDS[attribute] for attribute in ended})
    parts += sorted(wanted.attributes if ended else wanted.attributes - now.attributes)
    if wanted.fore != now.fore:
        parts.append(wanted.fore or "39")
    if wanted.back != now.back:
        parts.append(wanted.back or "49")
    return f"\x1b[{';'.join(parts)}m" if parts else "", wanted
