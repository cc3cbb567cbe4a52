"""The questions of the metrics screen, and the plots it draws from the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from embedq_tui.live.questions import Question
from embedq_worker.database.connections import Connection
from embedq_worker.insights.metrics import Metrics, Period, Span, Spread, metrics
from embedq_worker.settings import Settings


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


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot.

    Attributes:
        title: With the unit.
        lines: By name, the value of each period to draw.
    """

    name: str
    title: str
    lines: dict[str, Callable[[Period], float | None]]


def _of(spread: Callable[[Period], Spread | None], name: str) -> Callable[[Period], float | None]:
    def value(period: Period) -> float | None:
        found = spread(period)
        return None if found is None else float(getattr(found, name))

    return value


def _percent(share: float | None) -> float | None:
    return None if share is None else share * 100


_PERCENTILES = ("p50", "p95", "p99")
PICTURES = (
    Picture("throughput", "Tasks ended per minute", {"ended": lambda period: period.per_minute}),
    Picture(
        "latency",
        "Processing time, ms",
        {name: _of(lambda period: period.processing_ms, name) for name in _PERCENTILES},
    ),
    Picture("depth", "Tasks pending or processing", {"depth": lambda period: period.depth_mean}),
    Picture("errors", "Failed, % of ended tasks", {"failed": lambda period: _percent(period.error_rate)}),
    Picture(
        "wait", "Wait, ms", {name: _of(lambda period: period.wait_ms, name) for name in _PERCENTILES}
    ),
    Picture(
        "utilization", "Slots busy, % of all", {"busy": lambda period: _percent(period.utilization)}
    ),
)  # fmt: skip
