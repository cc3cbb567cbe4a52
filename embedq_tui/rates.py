"""How fast the queue moves, from successive counts."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from embedq_worker.insights.overview import Overview, QueueFigures

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


class RateMeter:
    """Remembers the samples of the last minute, one per second."""

    def __init__(self) -> None:
        self._looks: deque[tuple[datetime, QueueFigures]] = deque()

    def add(self, seen: Overview) -> Rates | None:
        """Add a sample.

        Returns:
            Rates; None until the samples span enough time.
        """
        looks = self._looks
        if looks and seen.at < looks[0][0]:  # the server's clock was set back
            looks.clear()
        if len(looks) > 1 and (seen.at - looks[-2][0]).total_seconds() < APART_S:
            looks.pop()  # the newest sample replaces it
        looks.append((seen.at, seen.queue))
        while len(looks) > 2 and (seen.at - looks[1][0]).total_seconds() >= WINDOW_S:
            looks.popleft()
        seconds = (looks[-1][0] - looks[0][0]).total_seconds()
        if seconds < LEAST_S:
            return None
        ended = [ended_between(before, after) for (_, before), (_, after) in pairwise(looks)]
        return Rates(
            completed=sum(each.completed for each in ended) / seconds * 60,
            failed=sum(each.failed for each in ended) / seconds * 60,
            pending=(looks[-1][1].counts.pending - looks[0][1].counts.pending) / seconds * 60,
            over_s=seconds,
        )


class EndedTasks(NamedTuple):
    """Tasks that ended between two looks."""

    completed: int
    failed: int


def ended_between(before: QueueFigures, after: QueueFigures) -> EndedTasks:
    """Compare counts, which retention and operators decrease; what an operator cancelled was no work.

    Failed tasks may become cancelled ones, and with an undo the other way round.
    """
    cancelled = max(after.cancelled - before.cancelled, 0)
    return EndedTasks(
        max(after.counts.completed - before.counts.completed, 0),
        max(after.counts.failed - before.counts.failed - cancelled, 0),
    )
