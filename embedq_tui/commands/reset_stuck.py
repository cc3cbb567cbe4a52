"""`embedq-tui reset-stuck`: return stuck tasks to the queue."""

from __future__ import annotations

from dataclasses import replace

import click

from embedq_tui.commands.actions import run_action
from embedq_tui.filters.options import Chosen
from embedq_tui.invocation import Invocation, Number, operator_command
from embedq_worker.actions.tasks import RELEASE
from embedq_worker.errors import ExitCode
from embedq_worker.insights.stuck import stuck_by
from embedq_worker.queue.wanted import TaskFilter


@click.command("reset-stuck", epilog="Example: embedq-tui reset-stuck --minutes 30")
@click.option(
    "--minutes",
    type=Number(0, 100_000),
    metavar="N",
    help="Claimed longer ago than this.  [default: EMBEDDING_QUEUE_MAX_PROCESSING_TIME]",
)
@operator_command
def command(invocation: Invocation, minutes: int | None) -> ExitCode:
    """Return tasks to the queue whose claim is too old, or whose worker is gone or has no heartbeat.

    These are the tasks that `embedq-tui stuck` lists; --minutes overrides their maximum age.

    Whoever still holds one, even another program's worker, can no longer write its result. No attempt is
    counted. Exits 0 if there was nothing to reset.
    """
    by = stuck_by(invocation.settings())
    if minutes is not None:
        by = replace(by, older_s=minutes * 60.0)
    wanted = Chosen(TaskFilter(statuses=("processing",), stuck=by))
    return run_action(invocation, RELEASE, wanted, nothing=ExitCode.OK)
