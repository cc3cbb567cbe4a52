"""The words that stand in the columns of a task."""

from __future__ import annotations

STATUSES = ("pending", "processing", "completed", "failed")
PRIORITIES = ("high", "normal", "low")
"""In the order in which they are served."""
KINDS = ("create", "update", "delete")
