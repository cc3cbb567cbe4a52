"""A low-water mark for each priority: where its due tasks begin, so that a claim skips dead index entries.

While another transaction holds an old snapshot, vacuum cannot remove the index entries of finished tasks, and
every claim would have to scan past all of them. Starting at the last claimed task avoids that. But the mark
may hide a task that was queued with an earlier due time, so it is dropped at intervals and whenever a claim
is not filled; a task that this worker returns lowers it, as does one whose claim it lost: it may be pending.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from embedq_worker.queue.claims import ClaimedTask, Place
from embedq_worker.schema.task_values import PRIORITIES

FORGET_AFTER_S = 3.0
FORGET_AT_MOST_S = 60.0
_SHARE = 50
"""A scan from the beginning is repeated after this many times its duration, at most 2 % of the time."""


class LowWater:
    """Remembers the position of the last claimed task of each priority."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._forget_at = 0.0

    def marks(self) -> list[Place | None]:
        """Marks to pass to the claim: one position per priority, in order; empty for none."""
        if monotonic() > self._forget_at:
            self.forget()
        return [self._places.get(priority) for priority in PRIORITIES] if self._places else []

    def claimed(self, tasks: Iterable[ClaimedTask], took_s: float) -> None:
        """Remember where a filled claim ended.

        Args:
            tasks: In the order of the claim.
            took_s: Duration of the claim; without marks, it shows how costly a scan from the beginning is.
        """
        if not self._places:
            self._forget_at = monotonic() + min(max(FORGET_AFTER_S, _SHARE * took_s), FORGET_AT_MOST_S)
        last = {task.priority: task for task in tasks}  # they are in order
        for priority, task in last.items():
            place = _place(task)
            self._places[priority] = max(place, self._places.get(priority, place))

    def returned(self, tasks: Iterable[ClaimedTask]) -> None:
        """Lower the marks to these tasks, which are in the queue again."""
        for task in tasks:
            if task.priority in self._places:
                self._places[task.priority] = min(_place(task), self._places[task.priority])

    def forget(self) -> None:
        """Drop the marks: the next claim scans from the beginning."""
        self._places.clear()


def _place(task: ClaimedTask) -> Place:
    return Place(task.scheduled_at, task.id)
