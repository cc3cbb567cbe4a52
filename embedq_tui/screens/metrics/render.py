"""What the metrics screen plots, and the figures below as table rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from embedq_tui.rendering.metric_figures import ALL, MAIN, cells, when
from embedq_tui.rendering.styles import HEAD, QUIET
from embedq_tui.widgets.rows import Column, Row
from embedq_worker.insights.metrics import Metrics, Period, Spread

WIDTHS = {"Done": 9, "Failed": 7, "p50": 7, "p95": 7, "p99": 7, "Busy": 5, "Error": 6}
HIDDEN_BELOW = {"Wait p95": 92}


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


def telling(periods: Sequence[Period]) -> Sequence[Period]:
    """Drop a period that has only just begun: in a plot it would look like a sudden fall.

    Args:
        periods: Oldest first.
    """
    if (
        len(periods) > 1
        and (periods[-1].until - periods[-1].since) < (periods[-2].until - periods[-2].since) / 2
    ):
        return periods[:-1]
    return periods


def _column(name: str) -> Column:
    width, hidden_below = WIDTHS.get(name, 8), HIDDEN_BELOW.get(name, 0 if name in MAIN else 132)
    return Column(name, name, width, hidden_below, right=True)


COLUMNS = (Column("when", "", 11), *map(_column, ALL))


def named(found: Metrics) -> Iterator[tuple[str, Period]]:
    """The whole span first, then its periods, newest first.

    Args:
        found: The metrics shown.
    """
    yield "All", found.total
    for period in reversed(found.periods):
        yield when(period, found.by), period


def rows(found: Metrics) -> Iterator[Row]:
    """The rows of the table.

    Args:
        found: The metrics shown.
    """
    for name, period in named(found):
        key, style = ("all", HEAD) if period is found.total else (period.since.isoformat(), "")
        figures = (Text(figure, style) for figure in cells(period, ALL))
        yield Row(key, (Text(name, style or QUIET), *figures))
