"""`embedq-tui reset-stuck`: put what has been in hand for too long back into the queue."""

from __future__ import annotations

from dataclasses import replace

import click

from embedq_tui.invocation import Invocation, operator_command
from embedq_tui.task_commands import run_action
from embedq_worker.actions.tasks import RELEASE
from embedq_worker.errors import ExitCode
from embedq_worker.insights.stuck import stuck_by
from embedq_worker.queue.wanted import TaskFilter


@click.command("reset-stuck", epilog="Example: embedq-tui reset-stuck --minutes 30")
@click.option(
    "--minutes",
    type=click.IntRange(0, 100_000),
    metavar="N",
    help="Claimed longer ago than this.  [default: EMBEDDING_QUEUE_MAX_PROCESSING_TIME]",
)
@operator_command
def command(invocation: Invocation, minutes: int | None) -> ExitCode:
    """Put tasks that have been in hand for too long, or whose worker is gone or silent, back into the queue.

    These are the tasks that `embedq-tui stuck` lists; --minutes is another age than that of the settings.

    Whoever holds one, a worker of another program too, can write nothing of it any more. No attempt is
    charged. Exits 0 when there was nothing to reset.
    """
    by = stuck_by(invocation.settings())
    if minutes is not None:
        by = replace(by, older_s=minutes * 60.0)
    wanted = TaskFilter(statuses=("processing",), stuck=by)
    return run_action(invocation, RELEASE, wanted, verb="Reset", nothing=ExitCode.OK)
