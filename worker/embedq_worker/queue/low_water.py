"""Where the due tasks of each priority begin: a hint that spares a claim the dead index entries before them.

While a transaction elsewhere keeps an old snapshot open, finished tasks stay in the index, and every claim
walks past all of them. Starting at the last claimed task avoids that. It may hide a task that came in with an
earlier time, so it is forgotten now and then, and whenever a claim is not filled; a task that this worker
gives back lowers it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from time import monotonic

from embedq_worker.queue.claims import ClaimedTask
from embedq_worker.queue.wanted import PRIORITIES

FORGET_AFTER_S = 3.0
FORGET_AT_MOST_S = 60.0
_SHARE = 50
"""How many times what a walk from the beginning took passes before the next: 2 % at most are spent on it."""


class LowWater:
    """Remembers, by priority, when the last claimed task was due."""

    def __init__(self) -> None:
        self._due: dict[str, datetime] = {}
        self._forget_at = 0.0

    def marks(self) -> list[datetime | None] | None:
        """What to hand to the claim: one instant per priority, in their order; None for no hint."""
        if monotonic() > self._forget_at:
            self.forget()
        return [self._due.get(priority) for priority in PRIORITIES] if self._due else None

    def claimed(self, tasks: Iterable[ClaimedTask], took_s: float) -> None:
        """Remember where a filled claim ended.

        Args:
            tasks: In the order of the claim.
            took_s: Seconds that the claim took; without a hint, they tell what is before the tasks.
        """
        if not self._due:
            self._forget_at = monotonic() + min(max(FORGET_AFTER_S, _SHARE * took_s), FORGET_AT_MOST_S)
        last_due = {task.priority: task.scheduled_at for task in tasks}  # they are in order
        for priority, due in last_due.items():
            self._due[priority] = max(due, self._due.get(priority, due))

    def returned(self, tasks: Iterable[ClaimedTask]) -> None:
        """Begin no later than at these, which are in the queue again."""
        for task in tasks:
            if task.priority in self._due:
                self._due[task.priority] = min(task.scheduled_at, self._due[task.priority])

    def forget(self) -> None:
        """Begin at the beginning again."""
        self._due.clear()
