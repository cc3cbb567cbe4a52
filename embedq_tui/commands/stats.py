"""`embedq-tui stats`: the queue in numbers, on one screen."""

from __future__ import annotations

from collections.abc import Iterator

import click

from embedq_tui.commands.asking import ask
from embedq_tui.invocation import Invocation, operator_command
from embedq_tui.output import Column, console, print_json, print_table, say
from embedq_tui.rendering.metric_figures import short_time
from embedq_tui.rendering.words import moment
from embedq_worker.insights.metrics import Period
from embedq_worker.insights.overview import StatusCounts
from embedq_worker.insights.stats import Stats, stats
from embedq_worker.schema.task_values import PRIORITIES, STATUSES
from embedq_worker.shares import percentage
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
    figures = [_figures(found.today), _figures(found.week)]
    rows = [[name, *(of[name] for of in figures)] for name in figures[0]]
    print_table(columns, rows)


def _figures(period: Period) -> dict[str, str]:
    more = "" if period.exact else "+"
    processing, wait = period.processing_ms, period.wait_ms
    return {
        "completed": f"{period.completed:,}{more}",
        "failed": f"{period.failed:,}{more}",
        "error rate": "-" if period.error_rate is None else percentage(period.error_rate, 1),
        "tasks per minute": f"{period.per_minute:,.1f}",
        "processing time p50": short_time(processing.p50 if processing else None),
        "processing time p95": short_time(processing.p95 if processing else None),
        "wait p50": short_time(wait.p50 if wait else None),
        "provider request": short_time(period.embedding_ms),
        "claim": short_time(period.claim_ms),
        "slots busy": "-" if period.utilization is None else percentage(period.utilization),
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
