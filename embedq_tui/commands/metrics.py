"""`embedq-tui metrics`: throughput, latency and depth of the queue over time."""

from __future__ import annotations

import sys
from datetime import timedelta

import click

from embedq_tui.capabilities import ascii_only
from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, operator_command
from embedq_tui.commands.output import Column, console, print_json, print_table, say
from embedq_tui.filters.values import parse_moment
from embedq_tui.rendering.metric_figures import ALL, MAIN, WIDE, anything, cells, when
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import connected
from embedq_worker.errors import EmbedqError, ExitCode
from embedq_worker.insights.metrics import Metrics, Span, metrics
from embedq_worker.process.running import run

LONGEST = timedelta(days=3_660)

PLOT_HEIGHT = 12
PLOT_WIDTH = 120
"""Columns beyond this do not improve the plot."""


class Duration(click.ParamType[timedelta]):
    """A duration such as ``90m``, ``24h``, ``7d`` or ``2w``."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse the value."""
        try:
            moment = value if isinstance(value, timedelta) else parse_moment(str(value))
        except ValueError:
            moment = None
        if not isinstance(moment, timedelta) or not timedelta(0) < moment <= LONGEST:
            self.fail(f"{value!r} is not a duration such as 90m, 24h, 7d or 2w", param, ctx)
        return moment


@click.command("metrics", epilog="Example: embedq-tui metrics --by day --since 7d --plot")
@click.option(
    "--by",
    type=click.Choice([span.value for span in Span]),
    default=Span.HOUR.value,
    show_default=True,
    help="Length of each period.",
)
@click.option(
    "--since",
    type=Duration(),
    default="24h",
    show_default=True,
    metavar="SPAN",
    help="How far back: 90m, 24h, 7d, 2w.",
)
@click.option("--plot", "plotted", is_flag=True, help="Plots instead of a table.")
@click.option("--prometheus", is_flag=True, help="The current state in Prometheus format, once.")
@operator_command
def command(invocation: Invocation, by: str, since: timedelta, plotted: bool, prometheus: bool) -> ExitCode:
    """Show throughput, latency, errors, utilization and queue depth by minute, hour or day.

    Counts include tasks done by other programs' workers; times come from embedq's own workers.
    """
    if prometheus and (invocation.as_json or plotted):
        raise click.UsageError("--prometheus cannot be combined with --json or --plot")
    settings = invocation.settings()
    if prometheus:
        return run(_expose(settings))
    found = ask(settings, lambda connection: metrics(connection, by=Span(by), since=since))
    if invocation.as_json:
        print_json(found)
    elif not anything(found):
        say("No task ended and no worker ran in this period.")
    elif plotted:
        _plot(found)
    else:
        _table(found)
    return ExitCode.OK


async def _expose(settings: Settings) -> ExitCode:
    """Write the exposition; an unreachable database is reported in it and on standard error."""
    from embedq_worker.service.exposition import exposition, read_state

    try:
        async with connected(settings) as connection:
            state = await read_state(connection, settings)
    except EmbedqError:
        click.echo(exposition(None), nl=False)
        raise
    click.echo(exposition(state), nl=False)
    return ExitCode.OK


def _table(found: Metrics) -> None:
    chosen = ALL if console().width >= WIDE else MAIN
    columns = [Column(found.by.value.capitalize()), *(Column(name, right=True) for name in chosen)]
    rows = [[when(period, found.by), *cells(period, chosen)] for period in found.periods]
    print_table(columns, [*rows, ["All", *cells(found.total, chosen)]])


def _plot(found: Metrics) -> None:
    from embedq_tui.rendering.metric_plots import DEPTH, LATENCY, THROUGHPUT
    from embedq_tui.rendering.plots import LEAST_WIDTH, plot

    screen = console()
    if screen.width < LEAST_WIDTH:
        raise EmbedqError(
            f"a plot needs {LEAST_WIDTH} columns", "widen the terminal, or omit --plot for a table"
        )
    labels = [when(period, found.by) for period in found.periods]
    for picture in (THROUGHPUT, LATENCY, DEPTH):
        drawn = plot(
            picture.series(found.periods, few=True),
            labels,
            title=picture.title,
            width=min(screen.width, PLOT_WIDTH),
            height=PLOT_HEIGHT,
            ascii_only=ascii_only() or "utf" not in (getattr(sys.stdout, "encoding", None) or "").lower(),
        )
        if drawn is not None:
            screen.print(drawn)
            say()
