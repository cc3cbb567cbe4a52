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

PATIENCE_S = 10.0
"""Seconds after which an answer counts as lost."""

SETTLES_WITHIN_S = 3.0
"""Seconds to wait for the last answer, which would be typed into the shell."""


class Pace:
    """Holds back frames while the terminal has not drawn the ones before.

    An SSH server takes in whatever is written, up to hundreds of kilobytes: on a slow line, the answer to a
    key would come after all of that. A terminal that does not answer is asked once, and holds nothing back.
    """

    def __init__(self) -> None:
        self._answers = False
        self._asked_at: float | None = None
        self._since = 0

    def allows(self) -> bool:
        """Whether the next frame may be sent now."""
        if not self._answers or self._asked_at is None or self._since < AHEAD:
            return True
        self._answers = time.monotonic() - self._asked_at < PATIENCE_S
        return not self._answers

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
        return REQUEST

    def answered(self) -> None:
        """Take an answer."""
        self._answers, self._asked_at = True, None

    def begin(self) -> None:
        """Expect no answer: it may be another terminal now, or none."""
        self._answers, self._asked_at = False, None

    def settle(self) -> None:
        """Wait for an answer that is due."""
        until = time.monotonic() + SETTLES_WITHIN_S
        while self._answers and self._asked_at is not None and time.monotonic() < until:
            time.sleep(0.01)
