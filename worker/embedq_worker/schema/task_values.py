"""The values of a task's status, priority and operation, and of the error of a cancelled one."""

from __future__ import annotations

from typing import Literal, get_args

Priority = Literal["high", "normal", "low"]

STATUSES = ("pending", "processing", "completed", "failed")
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
"""In the order in which they are processed."""
KINDS = ("create", "update", "delete")

CANCELLED = "Cancelled by administrator"
"""The error of a task that an operator cancelled."""

IS_CANCELLED = "embedq_is_cancelled(error_message)"
"""SQL: whether a failed task was cancelled, by embedq or in psql."""


def rank_of(priority: str) -> int:
    """Position in `PRIORITIES`, like ``embedq_rank``: an unknown priority counts as normal."""
    return PRIORITIES.index(priority if priority in PRIORITIES else "normal")
