"""How fast the queue moves, from looks at its counts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from embedq_worker.insights.overview import Overview, StatusCounts

WINDOW_S = 60.0
APART_S = 1.0
"""Seconds between two looks that are remembered; more of them tell no more."""

LEAST_S = 5.0
"""Seconds between the first and the last look below which they tell nothing."""


class Rates(NamedTuple):
    """Tasks per minute.

    Attributes:
        completed: That were completed.
        failed: That failed.
        pending: By which the number of those that wait grew; None where that is not known.
        over_s: Seconds in which this was measured.
    """

    completed: float
    failed: float
    pending: float | None
    over_s: float

    def drain_s(self, pending: int) -> float | None:
        """Seconds until so many tasks are done at this rate; None where nothing moves."""
        ended = self.completed + self.failed
        return pending / ended * 60 if ended > 0 else None


class Pace:
    """Remembers the looks of the last minute, one a second."""

    def __init__(self) -> None:
        self._looks: deque[tuple[datetime, StatusCounts]] = deque()

    def add(self, seen: Overview) -> Rates | None:
        """Add a look.

        Returns:
            Rates; None until looks are far enough apart.
        """
        looks = self._looks
        if len(looks) > 1 and (seen.at - looks[-2][0]).total_seconds() < APART_S:
            looks.pop()  # the newest one stands for it
        looks.append((seen.at, seen.queue.counts))
        while len(looks) > 2 and (seen.at - looks[1][0]).total_seconds() >= WINDOW_S:
            looks.popleft()
        seconds = (looks[-1][0] - looks[0][0]).total_seconds()
        if seconds < LEAST_S:
            return None
        return Rates(
            completed=self._grown(lambda counts: counts.completed) / seconds * 60,
            failed=self._grown(lambda counts: counts.failed) / seconds * 60,
            pending=(looks[-1][1].pending - looks[0][1].pending) / seconds * 60,
            over_s=seconds,
        )

    def _grown(self, number: Callable[[StatusCounts], int]) -> int:
        """By how much a number grew; that retention or an operator lowered it now and then is no matter."""
        return sum(
            max(number(after) - number(before), 0) for (_, before), (_, after) in pairwise(self._looks)
        )
