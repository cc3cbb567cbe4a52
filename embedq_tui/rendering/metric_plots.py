"""What is plotted of the queue's metrics, by `metrics --plot` and in the console."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from embedq_tui.rendering.plots import Series
from embedq_worker.insights.metrics import Period, Spread


class Picture(NamedTuple):
    """A plot.

    Attributes:
        title: With the unit.
        lines: By name, the value of each period to draw.
    """

    name: str
    title: str
    lines: Mapping[str, Callable[[Period], float | None]]

    def series(self, periods: Sequence[Period], *, few: bool = False) -> list[Series]:
        """Its lines over some periods.

        Args:
            periods: Oldest first.
            few: Without the 99th percentile, for a small plot.
        """
        lines = {name: value for name, value in self.lines.items() if not few or name != "p99"}
        return [Series(name, [value(period) for period in periods]) for name, value in lines.items()]


def _of(spread: Callable[[Period], Spread | None], name: str) -> Callable[[Period], float | None]:
    def value(period: Period) -> float | None:
        found = spread(period)
        return None if found is None else float(getattr(found, name))

    return value


def _percent(share: float | None) -> float | None:
    return None if share is None else share * 100


_PERCENTILES = ("p50", "p95", "p99")
THROUGHPUT = Picture("throughput", "Tasks ended per minute", {"ended": lambda period: period.per_minute})
LATENCY = Picture(
    "latency",
    "Processing time, ms",
    {name: _of(lambda period: period.processing_ms, name) for name in _PERCENTILES},
)
DEPTH = Picture("depth", "Tasks pending or processing", {"depth": lambda period: period.depth_mean})
PICTURES = (
    THROUGHPUT,
    LATENCY,
    DEPTH,
    Picture("errors", "Failed, % of ended tasks", {"failed": lambda period: _percent(period.error_rate)}),
    Picture("wait", "Wait, ms", {name: _of(lambda period: period.wait_ms, name) for name in _PERCENTILES}),
    Picture("utilization", "Slots busy, % of all", {"busy": lambda period: _percent(period.utilization)}),
)
