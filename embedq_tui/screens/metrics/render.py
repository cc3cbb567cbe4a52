"""Which periods the metrics screen plots, and the figures below as table rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from embedq_tui.rendering.metric_figures import ALL, MAIN, cells, when
from embedq_tui.rendering.styles import HEAD, QUIET
from embedq_tui.widgets.rows import Column, Row
from embedq_worker.insights.metrics import Metrics, Period

WIDTHS = {"Done": 9, "Failed": 7, "p50": 7, "p95": 7, "p99": 7, "Busy": 5, "Error": 6}
HIDDEN_BELOW = {"Wait p95": 92}


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
