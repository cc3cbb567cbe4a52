"""The channels of NOTIFY. Consoles listen to both: new work is told to workers and consoles at once."""

from __future__ import annotations

WORK = "embedq_work"
"""Wakes workers: there may be a task to claim, or an order to obey."""

CHANGES = "embedq_changes"
"""Anything else that has changed."""
