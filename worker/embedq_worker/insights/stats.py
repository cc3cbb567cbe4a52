"""The queue in numbers: its present state, what was done today and this week, what fails."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.failures import FailureGroup, failures
from embedq_worker.insights.metrics import Period, Span, metrics
from embedq_worker.insights.overview import QueueFigures, overview
from embedq_worker.insights.shares import rounded

GROUPS = 3
"""Number of failure groups shown, the largest ones."""


class Stats(NamedTuple):
    """The queue in numbers.

    Attributes:
        at: The database's time.
        queue: Its present state.
        success_rate: Share of completed among the completed and failed tasks now, 0 to 1; None without any.
            Cancelled tasks do not count.
        today: Since midnight in the local time zone.
        week: Today and the six days before.
        failing: The largest groups of failed tasks.
    """

    at: datetime
    queue: QueueFigures
    success_rate: float | None
    today: Period
    week: Period
    failing: tuple[FailureGroup, ...]


async def stats(connection: Connection, settings: Settings) -> Stats:
    """Collect the numbers.

    Args:
        connection: To the migrated database.
        settings: Of these, when a worker is presumed dead.

    Raises:
        SchemaError: There is no queue in this database.
    """
    queue = (await overview(connection, settings)).queue
    days = await metrics(connection, by=Span.DAY, since=timedelta(days=6))
    failing = await failures(connection, limit=GROUPS)
    ended = queue.counts.completed + max(queue.counts.failed - queue.cancelled, 0)
    return Stats(
        at=days.at,
        queue=queue,
        success_rate=rounded(queue.counts.completed / ended) if ended else None,
        today=days.periods[-1],
        week=days.total,
        failing=failing.groups,
    )
