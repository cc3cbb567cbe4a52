"""`embedq-tui metrics`: how fast the queue is worked off."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import timedelta

import click

from embedq_tui.invocation import Invocation, operator_command
from embedq_tui.output import Column, console, print_json, print_table, say
from embedq_worker.database import connected
from embedq_worker.errors import EmbedqError, ExitCode
from embedq_worker.insights.metrics import Metrics, Period, Span, Spread, metrics
from embedq_worker.selection import parse_moment
from embedq_worker.settings import Settings

WIDE = 110
"""Columns of a terminal on which every figure has room."""

LONGEST = timedelta(days=3_660)

PLOT_HEIGHT = 12
PLOT_WIDTH = 120
"""More columns make no better plot."""

_TIME_FORMATS = {Span.MINUTE: "%H:%M", Span.HOUR: "%m-%d %H:%M", Span.DAY: "%Y-%m-%d"}


class Duration(click.ParamType[timedelta]):
    """A time such as ``90m``, ``24h``, ``7d`` or ``2w``."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read it."""
        try:
            moment = value if isinstance(value, timedelta) else parse_moment(str(value))
        except ValueError:
            moment = None
        if not isinstance(moment, timedelta) or not timedelta(0) < moment <= LONGEST:
            self.fail(f"{value!r} is no time such as 90m, 24h, 7d or 2w", param, ctx)
        return moment


@click.command("metrics", epilog="Example: embedq-tui metrics --by day --since 7d --plot")
@click.option(
    "--by",
    type=click.Choice([span.value for span in Span]),
    default=Span.HOUR.value,
    show_default=True,
    help="Length of a period.",
)
@click.option(
    "--since", type=Duration(), default="24h", show_default=True, metavar="TIME", help="90m, 24h, 7d, 2w."
)
@click.option("--plot", "plotted", is_flag=True, help="Draw it instead of a table.")
@click.option("--prometheus", is_flag=True, help="The present state as Prometheus reads it, once.")
@operator_command
def command(invocation: Invocation, by: str, since: timedelta, plotted: bool, prometheus: bool) -> ExitCode:
    """Show throughput, times, errors, utilization and depth by minute, hour or day.

    Tasks are counted whoever did them; times are those of our own workers.
    """
    settings = invocation.settings()
    if prometheus:
        return asyncio.run(_expose(settings))
    found = asyncio.run(_measure(settings, Span(by), since))
    if invocation.as_json:
        print_json(found)
    elif not _anything(found):
        say("Nothing ended and no worker ran in this time.")
    elif plotted:
        _plot(found)
    else:
        _table(found)
    return ExitCode.OK


async def _measure(settings: Settings, by: Span, since: timedelta) -> Metrics:
    async with connected(settings) as connection:
        return await metrics(connection, by=by, since=since)


async def _expose(settings: Settings) -> ExitCode:
    """Write the exposition; where the database is not reached it says so in the exposition and on stderr."""
    from embedq_worker.exposition import exposition, look

    try:
        async with connected(settings) as connection:
            state = await look(connection, settings)
    except EmbedqError:
        click.echo(exposition(None), nl=False)
        raise
    click.echo(exposition(state), nl=False)
    return ExitCode.OK


def _anything(found: Metrics) -> bool:
    total = found.total
    return bool(total.completed or total.failed) or total.depth_mean is not None


def _table(found: Metrics) -> None:
    chosen = _WIDE if console().width >= WIDE else _NARROW
    columns = [Column(found.by.value.capitalize()), *(Column(name, right=True) for name in chosen)]
    rows = [[_when(period, found.by), *_cells(period, chosen)] for period in found.periods]
    print_table(columns, [*rows, ["All", *_cells(found.total, chosen)]])


def _cells(period: Period, chosen: tuple[str, ...]) -> list[str]:
    return [_FIGURES[name](period) for name in chosen]


def _when(period: Period, by: Span) -> str:
    return f"{period.since.astimezone():{_TIME_FORMATS[by]}}"


def _count(number: int, period: Period) -> str:
    return f"{number:,}{'' if period.exact else '+'}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def short_time(ms: float | None) -> str:
    """Milliseconds in few characters."""
    if ms is None:
        return "-"
    if ms < 1_000:
        return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"
    seconds = ms / 1_000
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"


def _of(spread: Spread | None, name: str) -> str:
    return short_time(None if spread is None else getattr(spread, name))


_FIGURES: dict[str, Callable[[Period], str]] = {
    "Done": lambda period: _count(period.completed, period),
    "Failed": lambda period: f"{period.failed:,}",
    "Error": lambda period: _share(period.error_rate),
    "Per min": lambda period: f"{period.per_minute:,.1f}",
    "p50": lambda period: _of(period.processing_ms, "p50"),
    "p95": lambda period: _of(period.processing_ms, "p95"),
    "p99": lambda period: _of(period.processing_ms, "p99"),
    "Wait p50": lambda period: _of(period.wait_ms, "p50"),
    "Wait p95": lambda period: _of(period.wait_ms, "p95"),
    "Request": lambda period: short_time(period.embedding_ms),
    "Busy": lambda period: "-" if period.utilization is None else f"{period.utilization:.0%}",
    "Depth": lambda period: "-" if period.depth_mean is None else f"{period.depth_mean:,.0f}",
}
_WIDE = tuple(_FIGURES)
_NARROW = ("Done", "Failed", "Per min", "p50", "p95", "Wait p95", "Busy", "Depth")


def _plot(found: Metrics) -> None:
    from embedq_tui.plots import Line, plot

    screen = console()
    labels = [_when(period, found.by) for period in found.periods]
    processing = [period.processing_ms for period in found.periods]
    pictures = {
        "Tasks ended per minute": [Line("ended", [period.per_minute for period in found.periods])],
        "Processing time, ms": [
            Line(name, [None if one is None else getattr(one, name) for one in processing])
            for name in ("p50", "p95")
        ],
        "Tasks pending or in hand": [Line("depth", [period.depth_mean for period in found.periods])],
    }
    for title, lines in pictures.items():
        picture = plot(
            lines,
            labels,
            title=title,
            width=min(screen.width, PLOT_WIDTH),
            height=PLOT_HEIGHT,
            ascii_only="utf" not in (sys.stdout.encoding or "").lower(),
        )
        if picture is not None:
            screen.print(picture)
            say()
