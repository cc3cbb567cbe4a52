"""The words that stand in the columns of a task."""

from __future__ import annotations

STATUSES = ("pending", "processing", "completed", "failed")
PRIORITIES = ("high", "normal", "low")
"""In the order in which they are served."""
KINDS = ("create", "update", "delete")


def rank_of(priority: str) -> int:
    """Place among `PRIORITIES`, as ``embedq_rank`` has it: one that nobody knows is served as normal."""
    return PRIORITIES.index(priority if priority in PRIORITIES else "normal")
