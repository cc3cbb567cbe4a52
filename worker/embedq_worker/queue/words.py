"""The values of a task's status, priority and operation, and the beginning of a worker's note."""

from __future__ import annotations

STATUSES = ("pending", "processing", "completed", "failed")
PRIORITIES = ("high", "normal", "low")
"""In the order in which they are processed."""
KINDS = ("create", "update", "delete")

REFUSED = "database: "
"""What the note of a worker begins with while the database refuses its statements."""


def rank_of(priority: str) -> int:
    """Position in `PRIORITIES`, like ``embedq_rank``: an unknown priority counts as normal."""
    return PRIORITIES.index(priority if priority in PRIORITIES else "normal")
