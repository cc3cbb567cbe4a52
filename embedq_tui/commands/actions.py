"""What commands that act on tasks share: the count, the confirmation, the progress, the outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import click

from embedq_tui.commands.asking import patiently
from embedq_tui.commands.invocation import Invocation, operator
from embedq_tui.commands.output import Bar, confirm, print_json, progress, say
from embedq_tui.commands.selecting import Chosen
from embedq_tui.rendering.words import count
from embedq_worker.actions.left_out import LeftOut, left_out
from embedq_worker.actions.tasks import Action, Outcome, Plan, Run, carry_out, plan
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import connected
from embedq_worker.errors import EmbedqError, ExitCode
from embedq_worker.process.running import run
from embedq_worker.schema.state import require_current

Way = Callable[[Run, Bar], Awaitable[str]]
"""Carries out a plan beside a progress bar, and returns the resulting `Done.state`."""

LEFT_OUT_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did.

    Attributes:
        state: ``done``, ``interrupted``, ``refused``, ``nothing`` (there was nothing to do), ``halted``,
            ``planned`` (only counted).
    """

    planned: Plan
    outcome: Outcome
    left_out: Sequence[LeftOut]
    state: str


dry_run_option = click.option("--dry-run", is_flag=True, help="Only count the tasks; change nothing.")
"""Adds --dry-run, see `run_action`."""


async def _plain(run: Run, bar: Bar) -> str:
    await carry_out(run)
    return "done"


def run_action(
    invocation: Invocation,
    action: Action,
    wanted: Chosen,
    *,
    ask: bool = False,
    allowed: bool = True,
    dry_run: bool = False,
    nothing: ExitCode = ExitCode.NO,
    way: Way = _plain,
) -> ExitCode:
    """Plan an action, say how many tasks it affects, carry it out and report the outcome.

    Args:
        invocation: The command's.
        action: What to do.
        wanted: To which tasks.
        ask: Ask for confirmation first.
        allowed: If False, report the count and refuse to change anything.
        dry_run: Only report the count.
        nothing: Exit code if there is nothing to do.
        way: How to carry it out.

    Returns:
        The exit code of the command.
    """
    settings = invocation.settings()
    planned = run(patiently(_plan(settings, action, wanted)))
    run_outcome = Outcome()
    if not invocation.as_json and (dry_run or len(wanted.tasks) != 1):
        would = "would" if dry_run else "will"
        say(f"{planned.wanted.describe()}: {planned.matched:,} {would} be {action.done}")
    if planned.matched and dry_run:
        _report(invocation, Done(planned, run_outcome, (), "planned"))
        return ExitCode.OK
    if planned.matched and (not allowed or (ask and not confirm(_question(planned)))):
        _report(invocation, Done(planned, run_outcome, (), "refused"))
        return ExitCode.NO
    if not planned.matched and not wanted.tasks:
        _report(invocation, Done(planned, run_outcome, (), "nothing"))
        return nothing
    try:
        done = run(_carry_out(settings, planned, run_outcome, way))
    except (KeyboardInterrupt, EmbedqError) as error:
        if run_outcome.changed or isinstance(error, KeyboardInterrupt):
            _report(invocation, Done(planned, run_outcome, (), "interrupted"))
        raise
    _report(invocation, done)
    return ExitCode.OK if done.outcome.changed and done.state == "done" else ExitCode.NO


def _question(planned: Plan) -> str:
    verb = planned.action.name.capitalize()
    return f"{verb} {count(planned.matched, 'task')} ({planned.wanted.describe()})?"


async def _plan(settings: Settings, action: Action, wanted: Chosen) -> Plan:
    async with connected(settings) as connection:
        await require_current(connection)
        return await plan(connection, action, await wanted.look_up(connection, settings))


async def _carry_out(settings: Settings, planned: Plan, outcome: Outcome, way: Way) -> Done:
    async with connected(settings) as connection:
        with progress(f"Tasks {planned.action.done}", planned.matched) as bar:
            state = await way(
                Run(connection, planned, operator(), progress=bar.reached, outcome=outcome), bar
            )
        missed = await left_out(connection, planned, outcome)
    return Done(planned, outcome, missed, state if planned.matched else "nothing")


def _report(invocation: Invocation, done: Done) -> None:
    outcome, action = done.outcome, done.planned.action
    if invocation.as_json:
        print_json(
            {
                "action": action.name,
                "state": done.state,
                "filter": done.planned.wanted.document(),
                "matched": done.planned.matched,
                "changed": outcome.changed,
                "batches": outcome.batches,
                "operation_id": outcome.operation_id if outcome.changed else None,
                "left_out": done.left_out,
            }
        )
        return
    for missed in done.left_out[:LEFT_OUT_SHOWN]:
        say(f"{missed.id} not {action.done}: {missed.words}", error=True)
    if len(done.left_out) > LEFT_OUT_SHOWN:
        say(f"and {len(done.left_out) - LEFT_OUT_SHOWN:,} more not {action.done}", error=True)
    operation = f" (operation {outcome.operation_id})" if outcome.changed else ""
    match done.state:
        case "planned":
            pass
        case "refused" | "nothing":
            say(f"Nothing was {action.done}.")
        case "interrupted":
            say(
                f"Interrupted: {outcome.changed:,} of {done.planned.matched:,} {action.done}{operation}; "
                "run it again to resume",
                error=True,
            )
        case _:
            say(f"{count(outcome.changed, 'task')} {action.done}{operation}")
