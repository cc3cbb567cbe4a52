"""The questions of the metrics screen, and the plots it draws from the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

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


class Measure(Question[Measured]):
    """Takes seconds with millions of tasks: asked one at a time, rarely, and not on notifications."""

    title: ClassVar[str]
    since: ClassVar[timedelta]
    plotted: ClassVar[Span]
    tabled: ClassVar[Span]
    hears: ClassVar[frozenset[str]] = frozenset()
    within_s: ClassVar[float] = 60.0

    async def ask(self, connection: Connection, settings: Settings) -> Measured:
        """Ask it once."""
        fine = await metrics(connection, by=self.plotted, since=self.since)
        if self.tabled is self.plotted:
            return Measured(fine, fine)
        return Measured(fine, await metrics(connection, by=self.tabled, since=self.since))


@dataclass(frozen=True)
class LastHour(Measure):
    """By minute. Pause and interval add up: ten seconds between answers."""

    title: ClassVar[str] = "1 h"
    since: ClassVar[timedelta] = timedelta(hours=1)
    plotted: ClassVar[Span] = Span.MINUTE
    tabled: ClassVar[Span] = Span.MINUTE
    pause_s: ClassVar[float] = 5.0
    every_s: ClassVar[float] = 5.0


@dataclass(frozen=True)
class LastDay(Measure):
    """By hour."""

    title: ClassVar[str] = "24 h"
    since: ClassVar[timedelta] = timedelta(hours=24)
    plotted: ClassVar[Span] = Span.HOUR
    tabled: ClassVar[Span] = Span.HOUR
    pause_s: ClassVar[float] = 30.0
    every_s: ClassVar[float] = 30.0


@dataclass(frozen=True)
class LastWeek(Measure):
    """By hour, and by day."""

    title: ClassVar[str] = "7 d"
    since: ClassVar[timedelta] = timedelta(days=7)
    plotted: ClassVar[Span] = Span.HOUR
    tabled: ClassVar[Span] = Span.DAY
    pause_s: ClassVar[float] = 150.0
    every_s: ClassVar[float] = 150.0


SPANS: tuple[Measure, ...] = (LastHour(), LastDay(), LastWeek())


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
