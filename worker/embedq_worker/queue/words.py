"""The values of a task's status, priority and operation; texts by which embedq knows what it has written."""

from __future__ import annotations

STATUSES = ("pending", "processing", "completed", "failed")
PRIORITIES = ("high", "normal", "low")
"""In the order in which they are processed."""
KINDS = ("create", "update", "delete")

CANCELLED = "Cancelled by administrator"
"""The error of a task that an operator cancelled."""

IS_CANCELLED = "embedq_is_cancelled(error_message)"
"""SQL: whether a failed task was cancelled, by embedq or in psql."""

REFUSED = "database: "
"""What the note of a worker begins with while the database refuses its statements."""

UNAVAILABLE = "provider: "
"""What the note of a worker begins with while it sends no requests to its provider."""

ALONE = "for this worker alone: "
"""What follows where the provider works for other workers."""


def rank_of(priority: str) -> int:
    """Position in `PRIORITIES`, like ``embedq_rank``: an unknown priority counts as normal."""
    return PRIORITIES.index(priority if priority in PRIORITIES else "normal")
