"""The questions of the metrics screen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from embedq_tui.live.questions import Question
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.metrics import Metrics, Span, metrics


@dataclass(frozen=True, slots=True)
class Measured:
    """The queue's metrics over a span of time.

    Attributes:
        plotted: In short periods, for the plots.
        tabled: In periods long enough for a readable table; may be the same.
    """

    plotted: Metrics
    tabled: Metrics


@dataclass(frozen=True)
class Measure(Question[Measured]):
    """Takes seconds with millions of tasks: asked one at a time, rarely, and not on notifications.

    Attributes:
        title: The span, in words.
        since: Its length.
        plotted: Length of a period of the plots.
        tabled: Length of a period of the table.
        pause_s, every_s: They add up.
    """

    title: str
    since: timedelta
    plotted: Span
    tabled: Span
    pause_s: float
    every_s: float
    hears = frozenset[str]()
    within_s = 60.0

    async def ask(self, connection: Connection, settings: Settings) -> Measured:
        """Ask it once."""
        fine = await metrics(connection, by=self.plotted, since=self.since)
        if self.tabled is self.plotted:
            return Measured(fine, fine)
        return Measured(fine, await metrics(connection, by=self.tabled, since=self.since))


HOUR = Measure("1 h", timedelta(hours=1), Span.MINUTE, Span.MINUTE, 5.0, 5.0)
DAY = Measure("24 h", timedelta(hours=24), Span.HOUR, Span.HOUR, 30.0, 30.0)
WEEK = Measure("7 d", timedelta(days=7), Span.HOUR, Span.DAY, 150.0, 150.0)
SPANS = (HOUR, DAY, WEEK)
