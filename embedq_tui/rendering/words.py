"""Numbers and times in words, and the articles and times of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from embedq_worker.text import age

if TYPE_CHECKING:
    from embedq_worker.insights.failures import FailedTask
    from embedq_worker.insights.overview import Overview, ProviderRow
    from embedq_worker.insights.stuck import StuckTask
    from embedq_worker.insights.tasks import TaskRow


def moment(when: datetime | None, now: datetime) -> str:
    """A time in the local zone with its age: ``2026-11-24 15:04:35 (12 min ago)``.

    Args:
        when: The time; None for never.
        now: The database's time, from which the age is computed.
    """
    if when is None:
        return "never"
    return f"{when.astimezone():%Y-%m-%d %H:%M:%S} ({relative((now - when).total_seconds())})"


def relative(seconds: float) -> str:
    """How long ago something was: ``12 min ago``; ``in 5 min`` if it is still to come."""
    return f"in {age(-seconds)}" if seconds < -1 else f"{age(seconds)} ago"


def ago(when: datetime | None, now: datetime) -> str:
    """How long ago a time was: ``12 min ago``; ``in 5 h`` by a clock that was set back since."""
    return "never" if when is None else relative((now - when).total_seconds())


def count(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun: ``1 task``, ``1,204 tasks``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def size_of(size: int) -> str:
    """A size in bytes, in few characters."""
    if size < 1_000:
        return f"{size} B"
    return f"{size / 1_000:,.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:,.1f} MB"


def next_try(provider: ProviderRow, seen: Overview, now: datetime) -> str:
    """When a provider that is not called will be called again, or for how long it is being tried.

    Args:
        provider: Its circuit breaker is open, or cooling.
        seen: Where it was found.
        now: The database's time.
    """
    if provider.probing_since:
        return f"being probed for {age((now - provider.probing_since).total_seconds())}"
    if provider.key not in seen.served:
        return "no worker to retry"
    left_s = (provider.retry_at - now).total_seconds() if provider.retry_at else 0.0
    return f"retry in {age(left_s)}" if left_s > 0 else "retrying now"


def article_of(task: TaskRow | FailedTask | StuckTask) -> str:
    """The slug of a task's article, or else its id."""
    return task.slug or ("no article" if task.article_id is None else f"article {task.article_id}")


def times_of(task: TaskRow) -> Iterator[tuple[str, datetime]]:
    """The known times of a task, each with what happened then.

    Args:
        task: The task.
    """
    for name, time in (
        ("created", task.created_at),
        ("due", task.scheduled_at),
        ("claimed", task.processed_at),
        ("ended", task.completed_at),
    ):
        if time is not None:
            yield name, time
