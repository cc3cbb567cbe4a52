"""`embedq-tui stats`: the queue in numbers, on one screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, operator_command
from embedq_tui.commands.output import Column, console, print_json, print_table, say
from embedq_tui.rendering.metric_figures import FIGURES, short_time
from embedq_tui.rendering.words import moment
from embedq_worker.insights.metrics import Period
from embedq_worker.insights.overview import StatusCounts
from embedq_worker.insights.shares import percentage
from embedq_worker.insights.stats import Stats, stats
from embedq_worker.schema.task_values import PRIORITIES, STATUSES
from embedq_worker.text import printable_line


@click.command("stats", epilog="Example: embedq-tui stats --json")
@operator_command
def command(invocation: Invocation) -> None:
    """Show the queue in numbers: by priority, today, over 7 days, times, and the most frequent failures."""
    settings = invocation.settings()
    found = ask(settings, lambda connection: stats(connection, settings))
    if invocation.as_json:
        print_json(found)
        return
    _counts(found)
    say()
    _pace(found)
    for line in _rest(found):
        say(line)


def _counts(found: Stats) -> None:
    queue = found.queue
    columns = [Column("Tasks"), *(Column(name.capitalize(), right=True) for name in STATUSES)]
    rows = [[name, *_numbers(queue.by_priority[name])] for name in PRIORITIES]
    print_table(columns, [*rows, ["all", *_numbers(queue.counts)]])


def _numbers(counts: StatusCounts) -> list[str]:
    return [f"{getattr(counts, name):,}" for name in STATUSES]


def _pace(found: Stats) -> None:
    columns = [Column("", least=28), Column("Today", right=True), Column("7 days", right=True)]
    rows = [[name, figure(found.today), figure(found.week)] for name, figure in _FIGURES.items()]
    print_table(columns, rows)


_FIGURES: dict[str, Callable[[Period], str]] = {
    "completed": FIGURES["Done"],
    "failed": FIGURES["Failed"],
    "error rate": FIGURES["Error"],
    "tasks per minute": FIGURES["Per min"],
    "processing time p50": FIGURES["p50"],
    "processing time p95": FIGURES["p95"],
    "wait p50": FIGURES["Wait p50"],
    "provider request": FIGURES["Request"],
    "claim": lambda period: short_time(period.claim_ms),
    "slots busy": FIGURES["Busy"],
}


def _rest(found: Stats) -> Iterator[str]:
    yield ""
    if found.success_rate is not None:
        yield f"Success rate of all tasks still stored: {percentage(found.success_rate, 1)}"
    if found.queue.oldest_due_at:
        yield f"Oldest due: {moment(found.queue.oldest_due_at, found.at)}"
    yield f"Last completed: {moment(found.queue.last_completed_at, found.at)}"
    if found.failing:
        yield ""
        yield "Most frequent failures (embedq-tui failed --details):"
        width = max(console().width - 22, 20)
        for group in found.failing:
            yield f"  {group.fingerprint}  {group.count:>8,}  {printable_line(group.error, width)}"
