"""The queue in numbers: what there is, what was done today and in a week, what fails."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from embedq_worker.database.connections import Connection
from embedq_worker.insights.failures import FailureGroup, failures
from embedq_worker.insights.metrics import Period, Span, metrics
from embedq_worker.insights.overview import QueueFigures, overview
from embedq_worker.settings import Settings
from embedq_worker.shares import rounded

GROUPS = 3
"""The biggest of failures that are told."""


class Stats(NamedTuple):
    """The queue in numbers.

    Attributes:
        at: The database's time.
        queue: What there is.
        success_rate: Completed among what is completed or failed now, 0 to 1; None where nothing is.
        today: Since midnight of the local zone.
        week: Today and the six days before.
        failing: The biggest groups of failed tasks.
    """

    at: datetime
    queue: QueueFigures
    success_rate: float | None
    today: Period
    week: Period
    failing: tuple[FailureGroup, ...]


async def stats(connection: Connection, settings: Settings) -> Stats:
    """Put the queue in numbers.

    Args:
        connection: To the migrated database.
        settings: How long a worker may be silent.

    Raises:
        SchemaError: There is no queue in this database.
    """
    queue = (await overview(connection, settings)).queue
    days = await metrics(connection, by=Span.DAY, since=timedelta(days=6))
    failing = await failures(connection, limit=GROUPS)
    ended = queue.counts.completed + queue.counts.failed
    return Stats(
        at=days.at,
        queue=queue,
        success_rate=rounded(queue.counts.completed / ended) if ended else None,
        today=days.periods[-1],
        week=days.total,
        failing=failing.groups,
    )
