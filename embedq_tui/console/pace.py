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
"""Seconds after which an answer may be lost, at least; one more frame is then sent in each such time."""

GIVEN_UP_S = 10.0
"""Seconds after which an answer counts as lost. It is asked again, and nothing held back until it answers."""

SETTLES_WITHIN_S = 3.0
"""Seconds to wait for the last answer, which would be typed into the shell."""


class Pace:
    """Holds back frames while the terminal has not drawn the ones before.

    An SSH server takes in whatever is written, up to hundreds of kilobytes: on a slow line, the answer to a
    key would come after all of that. A terminal that does not answer is asked once, and holds nothing back.
    While an answer takes much longer than the one before, little is sent, but the screen does not stand
    still. It is not asked again at once: a late answer would be taken for that to the second request, and
    twice as much would be on the way from then on.
    """

    def __init__(self) -> None:
        self._answers = False
        self._asked_at: float | None = None
        self._since = 0
        self._patience_s = PATIENCE_S
        self._held_since = 0.0

    def allows(self) -> bool:
        """Whether the next frame may be sent now."""
        if not self._answers or self._asked_at is None or self._since < AHEAD:
            return True
        now = time.monotonic()
        if now - self._asked_at >= GIVEN_UP_S:
            self._answers, self._asked_at = False, None
            return True
        if now - self._held_since < self._patience_s:
            return False
        self._held_since = now
        return True

    def sent(self, size: int) -> str:
        """Count a frame.

        Args:
            size: Its bytes.

        Returns:
            What to send after it.
        """
        self._since += size
        if not size or self._since < EACH or self._asked_at is not None:
            return ""
        self._asked_at, self._since = time.monotonic(), 0
        self._held_since = self._asked_at
        return REQUEST

    def answered(self) -> None:
        """Take an answer."""
        if self._asked_at is not None:
            self._patience_s = max(PATIENCE_S, 2 * (time.monotonic() - self._asked_at))
        self._answers, self._asked_at = True, None

    def begin(self) -> None:
        """Expect no answer: it may be another terminal now, or none."""
        self._answers, self._asked_at = False, None

    def settle(self) -> None:
        """Wait for an answer that is due."""
        until = time.monotonic() + SETTLES_WITHIN_S
        while self._answers and self._asked_at is not None and time.monotonic() < until:
            time.sleep(0.01)
