"""How fast to draw: whatever lies between console and terminal may store output for minutes."""

from __future__ import annotations

import time

REQUEST = "\x1b[5n"
"""Asks the terminal for its state; it answers once it has drawn everything before."""

ANSWER = "\x1b[0n"

EACH = 512
"""Bytes after which to ask again; less is not worth a packet."""

AHEAD = 1024
"""Bytes that may be on the way beyond a request. On a distant terminal, single keys are not held up by it."""

PATIENCE_S = 1.0
"""Seconds to wait for an answer, at least. One more frame is then sent, and the next after twice as long."""

OVERDUE_S = 10.0
"""Seconds without an answer after which the terminal is asked again with the next frame, at least."""

STILL_S = 20.0
"""Seconds after which it is asked even without a frame, at least. One that was detached, as from a container,
lost what it was asked before."""


class Pace:
    """Holds back frames while the terminal has not drawn the ones before.

    An SSH server takes in whatever is written, up to hundreds of kilobytes: on a slow line, the answer to a
    key would come after all of that. A terminal that does not answer is asked once, and holds nothing back.
    While an answer is due, less and less is sent, but the screen does not stand still: a whole large screen
    takes a slow line longer than anybody would wait for an answer that is lost. If there is one to a later
    request and then none, it was lost.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Expect no answer: it may be another terminal now, or none."""
        self._answers = self._heard = False
        self._due = self._since = 0
        self._patience_s = self._usual_s = PATIENCE_S
        self._waits_since = 0.0

    def allows(self) -> bool:
        """Whether the next frame may be sent now."""
        if not self._answers or not self._due or self._since < AHEAD:
            return True
        if self._heard and self._is_overdue():
            self._due = 0
            return True
        if self._waited_s() < self._patience_s:
            return False
        self._patience_s *= 2
        return True

    def sent(self, size: int) -> str:
        """Count a frame.

        Args:
            size: Its bytes; 0 if none is sent.

        Returns:
            What to send after it.
        """
        self._since += size
        if self._due:
            asks = self._is_overdue(OVERDUE_S if size else STILL_S)
        else:
            asks = size > 0 and self._since >= EACH
        if not asks:
            return ""
        if not self._due:  # else what is on the way already was too much
            self._since = 0
        self._due += 1
        self._heard = False
        self._waits_since = time.monotonic()
        return REQUEST

    def answered(self) -> None:
        """Take an answer."""
        if self._due:
            self._due -= 1
            self._patience_s = self._usual_s = max(PATIENCE_S, 2 * self._waited_s())
        self._answers = self._heard = True
        self._waits_since = time.monotonic()

    def settle(self) -> None:
        """Wait for an answer that is due: it would be typed into the shell, whose prompt comes no sooner."""
        while self._answers and self._due and not self._is_overdue():
            time.sleep(0.01)

    def _waited_s(self) -> float:
        return time.monotonic() - self._waits_since

    def _is_overdue(self, after_s: float = OVERDUE_S) -> bool:
        return self._answers and self._waited_s() >= max(after_s, self._usual_s)
