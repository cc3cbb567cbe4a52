"""The last lines of a program's output, bounded in number, length and total size."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice

from embedq_worker.text import printable

LINES = 5_000
CHARACTERS = 1_000_000
WIDTH = 2_000
_UTF8_LONGEST = 4


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line.

    Attributes:
        number: 0 for the first line ever, then counting up.
        text: Safe for a terminal, but not for markup; without a line break.
        ours: Written by the supervisor about the worker, not by the worker.
    """

    number: int
    text: str
    ours: bool


class LogRing:
    """Keeps the last lines.

    Attributes:
        next_number: Number of the next line.
    """

    def __init__(self) -> None:
        self.next_number = 0
        self._kept: deque[LogLine] = deque()
        self._size = 0

    def add(self, text: str, *, ours: bool = False) -> None:
        """Append a line, dropping the oldest ones if necessary."""
        # White space is not collapsed, so that tracebacks keep their indentation.
        shown = printable(text.rstrip().expandtabs())
        if len(shown) > WIDTH:
            shown = f"{shown[: WIDTH - 1]}…"
        self._kept.append(LogLine(self.next_number, shown, ours))
        self.next_number += 1
        self._size += len(shown)
        while len(self._kept) > LINES or self._size > CHARACTERS:
            self._size -= len(self._kept.popleft().text)

    def since(self, number: int, *, limit: int | None = None) -> list[LogLine]:
        """The lines from a number on, oldest first.

        Args:
            number: Number of the first line wanted; pass the previous `next_number` to get new lines. If the
                answer begins with a higher number, the lines in between were dropped.
            limit: Return only this many, the newest.
        """
        wanted = min(max(self.next_number - number, 0), len(self._kept))
        if limit is not None:
            wanted = min(wanted, limit)
        return list(islice(reversed(self._kept), wanted))[::-1]


class LineCutter:
    """Splits a stream of bytes into lines; the excess of an overlong line is dropped."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def feed(self, data: bytes) -> list[str]:
        """Process a piece of the stream.

        Returns:
            The lines it completed.
        """
        *ended, rest = data.split(b"\n")
        lines = []
        for part in ended:
            self._append(part)
            lines.append(self.rest())
        self._append(rest)
        return lines

    def rest(self) -> str:
        """Take the incomplete last line."""
        line = self._begun.decode("utf-8", errors="replace")
        self._begun.clear()
        return line

    def _append(self, part: bytes) -> None:
        # Keep more characters than are shown, so that the ring notices that something was cut.
        room = (WIDTH + 1) * _UTF8_LONGEST - len(self._begun)
        self._begun += part[: max(room, 0)]
