"""`embedq-tui health`: whether the queue is healthy, and what to do if not."""

from __future__ import annotations

from collections.abc import Sequence

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, operator_command
from embedq_tui.commands.output import print_json, print_wrapped, say
from embedq_tui.rendering.words import count
from embedq_worker.configuration.settings import Settings
from embedq_worker.errors import EmbedqError, ExitCode
from embedq_worker.insights.health import Health, Measure, health
from embedq_worker.insights.issues import Code, Issue
from embedq_worker.insights.shares import percentage
from embedq_worker.process.running import run
from embedq_worker.queue.counts import Drift, miscounted
from embedq_worker.text import age, printable_line

SHOWN_COUNTS = 4
"""Wrong counts listed by name; `verify` lists them all."""

DAMAGE = (
    "articles_missing",
    "articles_failed",
    "articles_stale",
    "articles_model",
    "articles_no_rag",
    "tasks_overspent",
)
"""Codes of what only `--deep` finds."""


@click.command("health", epilog="Example: embedq-tui health --max-backlog 50000 --ignore paused")
@click.option("--max-backlog", type=int, metavar="N", help="Pending tasks.  [EMBEDDING_HEALTH_BACKLOG]")
@click.option(
    "--max-wait", type=int, metavar="SECONDS", help="Age of the oldest due task.  [EMBEDDING_HEALTH_WAIT]"
)
@click.option(
    "--max-stall", type=int, metavar="SECONDS", help="Busy, but nothing finishes.  [EMBEDDING_HEALTH_STALL]"
)
@click.option("--max-stuck", type=int, metavar="N", help="Stuck tasks.  [EMBEDDING_HEALTH_STUCK]")
@click.option(
    "--max-failure-rate", type=float, metavar="SHARE", help="0 to 1.  [EMBEDDING_HEALTH_FAILURE_RATE]"
)
@click.option("--max-dead-rows", type=float, metavar="SHARE", help="0 to 1.  [EMBEDDING_HEALTH_DEAD_ROWS]")
@click.option(
    "--ignore",
    type=click.Choice([*(code.value for code in Code), *DAMAGE]),
    metavar="CODE",
    multiple=True,
    help="Ignore this issue; repeatable.",
)
@click.option("--deep", is_flag=True, help="Also run everything `verify` checks; reads whole tables.")
@click.option("--nagios", is_flag=True, help="One line with performance data, as Nagios plugins print it.")
@operator_command
def command(
    invocation: Invocation,
    max_backlog: int | None,
    max_wait: int | None,
    max_stall: int | None,
    max_stuck: int | None,
    max_failure_rate: float | None,
    max_dead_rows: float | None,
    ignore: tuple[str, ...],
    deep: bool,
    nagios: bool,
) -> ExitCode:
    """Check whether the queue is healthy, and say what to do if it is not.

    The first line starts with OK or UNHEALTHY. Exits 0 or 1, or 3 if the database cannot be reached.
    """
    settings = invocation.settings(
        health_backlog=max_backlog,
        health_wait_s=max_wait,
        health_stall_s=max_stall,
        health_stuck=max_stuck,
        health_failure_rate=max_failure_rate,
        health_dead_rows=max_dead_rows,
    )
    try:
        found = _without(_look(settings, deep=deep), ignore)
    except EmbedqError as error:
        if nagios and not invocation.as_json:  # monitoring systems read only a plugin's standard output
            say(f"UNKNOWN: {printable_line(error.message.replace('|', '/'), 1_000)}")
        raise
    if invocation.as_json:
        print_json(found)
    elif nagios:
        say(_plugin_line(found))
    else:
        _show(found)
    return ExitCode.OK if found.healthy else ExitCode.NO


def _look(settings: Settings, *, deep: bool) -> Health:
    found = ask(settings, lambda connection: health(connection, settings))
    if not deep or any(issue.code == Code.SCHEMA for issue in found.issues):
        return found
    issues = (*found.issues, *_damage(settings))
    return found._replace(issues=issues, healthy=not issues)


def _damage(settings: Settings) -> list[Issue]:
    """Problems that only a full read of the tables finds."""
    from embedq_tui.commands.verify import verify  # imported late: it loads the provider code

    proven = run(verify(settings, repair=False))
    issues = [Issue(Code.SCHEMA, each.message, each.advice, 1, 0, "counts") for each in proven.schema]
    if proven.drift:
        issues.append(_miscount(proven.drift))
    for finding in proven.findings:
        if finding.count:
            subject, unit = ("tasks", "tasks") if finding.code == "overspent" else ("articles", "articles")
            code = f"{subject}_{finding.code}"
            issues.append(Issue(code, finding.message, finding.advice, finding.count, 0, unit))
    return issues


def _miscount(drift: Sequence[Drift]) -> Issue:
    off, shown = miscounted(drift), [each.line for each in drift[:SHOWN_COUNTS]]
    if more := len(drift) - len(shown):
        shown.append(f"and {more:,} more")
    message = f"the stored counts are off by {count(off, 'task')}: {'; '.join(shown)}"
    return Issue(Code.COUNT_DRIFT, message, "run: embedq-tui verify --repair", off, 0, "tasks")


def _without(found: Health, ignored: Sequence[str]) -> Health:
    issues = tuple(issue for issue in found.issues if issue.code not in ignored)
    return found._replace(issues=issues, healthy=not issues)


def _summary(found: Health) -> str:
    value = {measure.name: measure.value for measure in found.measures}
    parts = [f"{value['pending']:,} pending", f"{value['processing']:,} processing"]
    if value["oldest_pending"]:
        parts.append(f"oldest due for {age(value['oldest_pending'])}")
    parts.append(f"{percentage(value['failure_rate_hour'], 1)} failing")
    return f"OK: {', '.join(parts)}, {count(int(value['workers']), 'worker')}"


def _show(found: Health) -> None:
    if found.healthy:
        say(_summary(found))
        return
    codes = dict.fromkeys(issue.code for issue in found.issues)  # the same code may occur for several reasons
    print_wrapped(f"UNHEALTHY: {', '.join(codes)}")
    for issue in found.issues:
        say()
        print_wrapped(f"{issue.code}: {issue.message}")
        print_wrapped(f"  {issue.advice}", quiet=True)


def _plugin_line(found: Health) -> str:
    """One line as the Monitoring Plugins guidelines define it: text, a bar, label=value;threshold."""
    if found.healthy:
        text = _summary(found)
    else:
        messages = "; ".join(issue.message for issue in found.issues)
        text = f"UNHEALTHY: {printable_line(messages.replace('|', '/'), 1_000)}"
    return f"{text} | {' '.join(map(_figure, found.measures))}" if found.measures else text


def _figure(measure: Measure) -> str:
    unit = "s" if measure.unit == "s" else ""
    threshold = "" if measure.threshold is None else f";{measure.threshold:g}"
    return f"{measure.name}={measure.value:.10g}{unit}{threshold}"
