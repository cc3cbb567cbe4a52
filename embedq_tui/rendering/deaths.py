"""What became of dead workers, in words."""

from __future__ import annotations

from embedq_tui.output import count
from embedq_worker.insights.deaths import DeadWorker


def fate(worker: DeadWorker) -> str:
    """What a dead worker held, and whether it was taken back: ``held 3 tasks, 1 not yet taken back``."""
    if not worker.in_hand:
        return "held no task"
    left = f"{worker.unreturned:,} not yet " if worker.unreturned else ""
    return f"held {count(worker.in_hand, 'task')}, {left}taken back"
