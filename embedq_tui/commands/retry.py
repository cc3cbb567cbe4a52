"""`embedq-tui retry`: give failed tasks a fresh start."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import click

from embedq_tui.acting import act
from embedq_tui.invocation import Invocation, operator_command
from embedq_tui.output import count, say
from embedq_tui.task_filter import filter_of, filter_options
from embedq_worker.actions import RETRY, Run, carry_out
from embedq_worker.errors import ExitCode
from embedq_worker.insights.tasks import statuses_of

STAGES = (10, 100)
"""Tasks retried at first, and then; the rest only when these went well."""

TOLERATED = 0.1
"""Share of a stage that may fail again."""

LOOK_EVERY_S = 0.5


@click.command("retry", epilog="Example: embedq-tui retry --failed --group 1a2b3c4d --staged")
@click.argument("tasks", type=click.UUID, nargs=-1, metavar="[TASK_ID]..")
@click.option("--failed", is_flag=True, help="All failed tasks that fulfil the options.")
@filter_options("group", "error", "slug", "priority", "article", "operation", "since", "until")
@click.option(
    "--staged", is_flag=True, help="10 first, then 100, then the rest, while at most a tenth fails again."
)
@click.option(
    "--stage-timeout",
    type=click.FloatRange(min=0),
    default=600.0,
    metavar="SECONDS",
    show_default=True,
    help="With --staged: give up when a stage has not ended by then.",
)
@operator_command
def command(
    invocation: Invocation,
    tasks: tuple[UUID, ...],
    failed: bool,
    staged: bool,
    stage_timeout: float,
    **values: Any,
) -> ExitCode:
    """Retry the failed tasks named, or all that fulfil the options.

    They start afresh: attempts count from 0, due now. A failed delete is left out where a later task of its
    article stands.
    """
    given = {name: value for name, value in values.items() if value is not None}
    if tasks and (failed or given):
        raise click.UsageError("name tasks or describe them, not both")
    if not tasks and not failed:
        raise click.UsageError("name tasks, or add --failed")
    wanted = filter_of(tasks, statuses=() if tasks else ("failed",), **given)
    if not staged:
        return act(invocation, RETRY, wanted, verb="Retry")

    async def in_stages(run: Run) -> str:
        return await _staged(run, stage_timeout, quiet=invocation.as_json)

    return act(invocation, RETRY, wanted, verb="Retry", way=in_stages)


async def _staged(run: Run, timeout_s: float, *, quiet: bool) -> str:
    """Retry in stages.

    Returns:
        ``done``, or ``halted`` where a stage did not go well.
    """
    for size in STAGES:
        before = len(run.outcome.ids)
        await carry_out(run, limit=size)
        stage = run.outcome.ids[before:]
        failed, waiting = await _ended(run, stage, timeout_s)
        if waiting or failed > TOLERATED * len(stage):
            what = f"{waiting:,} have not ended" if waiting else f"{failed:,} failed again"
            say(f"Halted: of {count(len(stage), 'task')} {what}", error=True)
            return "halted"
        if not quiet:
            say(f"{count(len(stage), 'task')} retried, {failed:,} failed again")
        if run.outcome.changed >= run.planned.matched:
            return "done"
    await carry_out(run)
    return "done"


async def _ended(run: Run, stage: list[UUID], timeout_s: float) -> tuple[int, int]:
    """Wait for the end of a stage.

    Returns:
        How many failed, and how many have not ended in time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        now = await statuses_of(run.connection, stage)
        waiting = now["pending"] + now["processing"]
        if not waiting or loop.time() >= deadline:
            return now["failed"], waiting
        await asyncio.sleep(LOOK_EVERY_S)
