"""Where the due tasks of each priority begin: a hint that spares a claim the dead index entries before them.

While a transaction elsewhere keeps an old snapshot open, finished tasks stay in the index, and every claim
walks past all of them. Starting at the last claimed task avoids that. It may hide a task that came back to
the queue, so it is forgotten every few seconds, whenever a claim is not filled, and when this worker gives a
task back.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from time import monotonic

from embedq_worker.queue.claims import ClaimedTask
from embedq_worker.queue.wanted import PRIORITIES

FORGET_AFTER_S = 3.0


class LowWater:
    """Remembers, by priority, when the last claimed task was due."""

    def __init__(self) -> None:
        self._due: dict[str, datetime] = {}
        self._since = 0.0

    def marks(self) -> list[datetime | None] | None:
        """What to hand to the claim: one instant per priority, in their order; None for no hint."""
        if monotonic() - self._since > FORGET_AFTER_S:
            self.forget()
        return [self._due.get(priority) for priority in PRIORITIES] if self._due else None

    def claimed(self, tasks: Iterable[ClaimedTask]) -> None:
        """Remember where a filled claim ended."""
        if not self._due:
            self._since = monotonic()
        last_due = {task.priority: task.scheduled_at for task in tasks}  # they are in order
        for priority, due in last_due.items():
            self._due[priority] = max(due, self._due.get(priority, due))

    def forget(self) -> None:
        """Begin at the beginning again."""
        self._due.clear()
