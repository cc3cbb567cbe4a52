"""How fast the queue moves, from successive counts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from embedq_worker.insights.overview import Overview, QueueFigures, StatusCounts

WINDOW_S = 60.0
APART_S = 1.0
"""Seconds between two remembered samples; more would add nothing."""

LEAST_S = 5.0
"""Seconds between the first and the last sample below which no rate is given."""


class Rates(NamedTuple):
    """Tasks per minute.

    Attributes:
        completed: Tasks completed.
        failed: Tasks failed, without those that an operator cancelled.
        pending: Growth of the number of pending tasks; None if unknown.
        over_s: Seconds over which this was measured.
    """

    completed: float
    failed: float
    pending: float | None
    over_s: float

    def drain_s(self, pending: int) -> float | None:
        """Seconds until this many tasks are done at this rate; None if nothing moves."""
        ended = self.completed + self.failed
        return pending / ended * 60 if ended > 0 else None


class Pace:
    """Remembers the samples of the last minute, one per second."""

    def __init__(self) -> None:
        self._looks: deque[tuple[datetime, StatusCounts]] = deque()

    def add(self, seen: Overview) -> Rates | None:
        """Add a sample.

        Returns:
            Rates; None until the samples span enough time.
        """
        looks = self._looks
        if len(looks) > 1 and (seen.at - looks[-2][0]).total_seconds() < APART_S:
            looks.pop()  # the newest sample replaces it
        looks.append((seen.at, _without_cancelled(seen.queue)))
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
        """By how much a number grew, ignoring decreases by retention or an operator."""
        return sum(
            max(number(after) - number(before), 0) for (_, before), (_, after) in pairwise(self._looks)
        )


def _without_cancelled(queue: QueueFigures) -> StatusCounts:
    """Counts in which what an operator cancelled has not failed: no work was done."""
    return queue.counts._replace(failed=queue.counts.failed - queue.cancelled)
