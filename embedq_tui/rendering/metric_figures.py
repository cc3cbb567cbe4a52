"""Throughput and latency figures as text, shared by `metrics` and the console's screen."""

from __future__ import annotations

from collections.abc import Callable

from embedq_worker.insights.metrics import Metrics, Period, Span, Spread
from embedq_worker.insights.shares import percentage

WIDE = 110
"""Terminal width, in columns, from which every figure fits."""

_FORMATS = {Span.MINUTE: "%H:%M", Span.HOUR: "%m-%d %H:%M", Span.DAY: "%Y-%m-%d"}


def anything(found: Metrics) -> bool:
    """Whether anything happened in this period."""
    total = found.total
    return bool(total.completed or total.failed) or total.depth_mean is not None


def cells(period: Period, chosen: tuple[str, ...]) -> list[str]:
    """The chosen figures of a period, see `FIGURES`."""
    return [FIGURES[name](period) for name in chosen]


def when(period: Period, by: Span) -> str:
    """When a period began, in local time."""
    return f"{period.since.astimezone():{_FORMATS[by]}}"


def _count(number: int, period: Period) -> str:
    return f"{number:,}{'' if period.exact else '+'}"


def _share(value: float | None) -> str:
    return "-" if value is None else percentage(value, 1)


def short_time(ms: float | None) -> str:
    """A duration in milliseconds, in few characters."""
    if ms is None:
        return "-"
    if ms < 1_000:
        return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"
    seconds = ms / 1_000
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"


def _of(spread: Spread | None, name: str) -> str:
    return short_time(None if spread is None else getattr(spread, name))


FIGURES: dict[str, Callable[[Period], str]] = {
    "Done": lambda period: _count(period.completed, period),
    "Failed": lambda period: _count(period.failed, period),
    "Error": lambda period: _share(period.error_rate),
    "Per min": lambda period: f"{period.per_minute:,.1f}",
    "p50": lambda period: _of(period.processing_ms, "p50"),
    "p95": lambda period: _of(period.processing_ms, "p95"),
    "p99": lambda period: _of(period.processing_ms, "p99"),
    "Wait p50": lambda period: _of(period.wait_ms, "p50"),
    "Wait p95": lambda period: _of(period.wait_ms, "p95"),
    "Request": lambda period: short_time(period.embedding_ms),
    "Busy": lambda period: "-" if period.utilization is None else percentage(period.utilization),
    "Depth": lambda period: "-" if period.depth_mean is None else f"{period.depth_mean:,.0f}",
}
ALL = tuple(FIGURES)
MAIN = ("Done", "Failed", "Per min", "p50", "p95", "Wait p95", "Busy", "Depth")


def document(period: Period) -> dict[str, object]:
    """A period as a flat row for export."""
    found: dict[str, object] = {}
    for name, value in period._asdict().items():
        if name in ("processing_ms", "wait_ms"):
            for part in Spread._fields:
                found[f"{name}_{part}"] = None if value is None else getattr(value, part)
        else:
            found[name] = value
    return found
