"""The last lines of a program, within bounds: of how many, how long, and how much in all."""

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
        number: 0 for the first line ever, then ever one more.
        text: Fit for a terminal, but markup of anything: it is data. No line end.
        ours: Said by the supervisor about the worker, not by the worker.
    """

    number: int
    text: str
    ours: bool


class LogRing:
    """Keeps the last lines.

    Attributes:
        next_number: Of the line that comes next; where nobody saw any yet, lines since 0 are all there are.
    """

    def __init__(self) -> None:
        self.next_number = 0
        self._kept: deque[LogLine] = deque()
        self._size = 0

    @property
    def first_number(self) -> int:
        """Of the oldest line that is kept."""
        return self._kept[0].number if self._kept else self.next_number

    def add(self, text: str, *, ours: bool = False) -> None:
        """Add a line; the oldest make room for it."""
        # White space is not collapsed: the indentation of a traceback is kept.
        shown = printable(text.rstrip().expandtabs())
        if len(shown) > WIDTH:
            shown = f"{shown[: WIDTH - 1]}…"
        self._kept.append(LogLine(self.next_number, shown, ours))
        self.next_number += 1
        self._size += len(shown)
        while len(self._kept) > LINES or self._size > CHARACTERS:
            self._size -= len(self._kept.popleft().text)

    def since(self, number: int, *, limit: int | None = None) -> list[LogLine]:
        """The lines from this number on, the oldest first.

        Args:
            number: Of the first that is wanted; `next_number` of the last look for what is new. Where the
                answer begins with a higher number, lines between were not kept.
            limit: The newest of them only.
        """
        wanted = min(self.next_number - max(number, self.first_number), self.next_number)
        if limit is not None:
            wanted = min(wanted, limit)
        return list(islice(reversed(self._kept), max(wanted, 0)))[::-1]

    def tail(self, count: int) -> list[LogLine]:
        """The last lines."""
        return self.since(0, limit=count)


class LineCutter:
    """Cuts a stream of bytes into lines; what is longer than a line may be is left out of it."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def feed(self, data: bytes) -> list[str]:
        """Take what came.

        Returns:
            The lines that ended.
        """
        *ended, rest = data.split(b"\n")
        lines = []
        for part in ended:
            self._append(part)
            lines.append(self.rest())
        self._append(rest)
        return lines

    def rest(self) -> str:
        """The line that was begun, which is no more then."""
        line = self._begun.decode("utf-8", errors="replace")
        self._begun.clear()
        return line

    def _append(self, part: bytes) -> None:
        # Room for more characters than are shown, so that the ring sees that something was cut.
        room = (WIDTH + 1) * _UTF8_LONGEST - len(self._begun)
        self._begun += part[: max(room, 0)]
