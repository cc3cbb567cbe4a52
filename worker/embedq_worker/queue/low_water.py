"""Where the due tasks of each priority begin: a hint that spares a claim the dead index entries before them.

While a transaction elsewhere keeps an old snapshot open, finished tasks stay in the index, and every claim
walks past all of them. Starting at the last claimed task avoids that. It may hide a task that came in with an
earlier time, so it is forgotten now and then, and whenever a claim is not filled; a task that this worker
gives back lowers it.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from embedq_worker.queue.claims import ClaimedTask, Place
from embedq_worker.queue.words import PRIORITIES

FORGET_AFTER_S = 3.0
FORGET_AT_MOST_S = 60.0
_SHARE = 50
"""How many times what a walk from the beginning took passes before the next: 2 % at most are spent on it."""


class LowWater:
    """Remembers, by priority, when the last claimed task was due."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._forget_at = 0.0

    def marks(self) -> list[Place | None]:
        """What to hand to the claim: one place per priority, in their order; empty for no hint."""
        if monotonic() > self._forget_at:
            self.forget()
        return [self._places.get(priority) for priority in PRIORITIES] if self._places else []

    def claimed(self, tasks: Iterable[ClaimedTask], took_s: float) -> None:
        """Remember where a filled claim ended.

        Args:
            tasks: In the order of the claim.
            took_s: Seconds that the claim took; without a hint, they tell what is before the tasks.
        """
        if not self._places:
            self._forget_at = monotonic() + min(max(FORGET_AFTER_S, _SHARE * took_s), FORGET_AT_MOST_S)
        last = {task.priority: task for task in tasks}  # they are in order
        for priority, task in last.items():
            place = _place(task)
            self._places[priority] = max(place, self._places.get(priority, place))

    def returned(self, tasks: Iterable[ClaimedTask]) -> None:
        """Begin no later than at these, which are in the queue again."""
        for task in tasks:
            if task.priority in self._places:
                self._places[task.priority] = min(_place(task), self._places[task.priority])

    def forget(self) -> None:
        """Begin at the beginning again."""
        self._places.clear()


def _place(task: ClaimedTask) -> Place:
    return Place(task.scheduled_at, task.id)
