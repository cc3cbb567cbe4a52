"""`embedq-tui stuck`: claimed tasks that nobody will finish."""

from __future__ import annotations

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, limit_option, operator_command
from embedq_tui.commands.output import Column, console, print_json, print_table, say
from embedq_tui.commands.selecting import minutes_option
from embedq_tui.rendering.words import article_of, count
from embedq_worker.insights.stuck import StuckTask, StuckTasks, stuck, stuck_by
from embedq_worker.text import age

WIDE = 120
"""Terminal width, in columns, from which worker, operation and attempts fit too."""


@click.command("stuck", epilog="Example: embedq-tui stuck --json")
@limit_option("Tasks to show, oldest claims first.", default=50, most=10_000)
@minutes_option
@operator_command
def command(invocation: Invocation, limit: int, older_s: float | None) -> None:
    """Show tasks whose claim is too old, or whose worker is gone or has no heartbeat.

    Any running worker returns such tasks to the queue within seconds; without one they stay stuck. Exits 0
    even if there are none.
    """
    settings = invocation.settings()
    by = stuck_by(settings, older_s)
    found = ask(settings, lambda connection: stuck(connection, settings, limit=limit, by=by))
    if invocation.as_json:
        print_json(found)
    elif not found.tasks:
        say("No stuck tasks.")
    else:
        _table(found)


def _table(found: StuckTasks) -> None:
    columns = [Column("Task"), Column("Article", least=8), Column("Claimed", right=True), Column("Why")]
    rows = [_row(task) for task in found.tasks]
    if console().width >= WIDE:
        columns += [Column("Worker"), Column("Operation"), Column("Attempts", right=True)]
        rows = [[*row, *_more(task)] for row, task in zip(rows, found.tasks, strict=True)]
    print_table(columns, rows)
    say()
    more = f", {len(found.tasks):,} shown" if found.total > len(found.tasks) else ""
    say(
        f"{count(found.total, 'stuck task')}{more}. A task is stuck if claimed over "
        f"{age(found.older_than_s)} ago, or if its worker had no heartbeat for {age(found.silent_after_s)}. "
        "Any running worker returns it to the queue."
    )


def _row(task: StuckTask) -> list[str]:
    return [str(task.id), article_of(task), f"{age(task.claim_age_s)} ago", task.reason.value]


def _more(task: StuckTask) -> list[str]:
    """The extra columns of a wide terminal."""
    if task.worker is None:
        worker = "other program"
    else:
        worker = f"{task.worker_place or str(task.worker)[:8]} {task.liveness or ''}".rstrip()
    return [worker, task.operation, f"{task.attempts}/{task.max_attempts}"]
