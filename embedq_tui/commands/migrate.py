"""`embedq-tui migrate`: apply, inspect, verify or roll back the schema."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, Number, operator_command
from embedq_tui.commands.output import Column, confirm, print_json, print_table, say
from embedq_tui.rendering.words import count
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.errors import ExitCode, SchemaError
from embedq_worker.insights.overview import overview
from embedq_worker.process.running import run
from embedq_worker.schema import migrations
from embedq_worker.schema.check import foremost
from embedq_worker.schema.state import MigrationState
from embedq_worker.schema.state import status as migration_states

QUEUE_VERSION = 2
"""Rolling back this version or below removes the operator's own data, not only ours."""

RECORDS_VERSION = 4
"""Rolling back this version or below removes what cannot be had again without embedding everything."""

NAMED = 5
"""Number of running workers that the question of a rollback names."""


@click.group("migrate", invoke_without_command=True, epilog="Example: embedq-tui migrate status")
@operator_command
def command(invocation: Invocation) -> None:
    """Apply, inspect, verify or roll back the schema.

    Without a subcommand, same as `up`. Other programs can keep reading and writing meanwhile.
    """
    if click.get_current_context().invoked_subcommand is None:
        _up(invocation)


@command.command("up", epilog="Example: embedq-tui migrate up")
@operator_command
def up(invocation: Invocation) -> None:
    """Apply the missing migrations in order. Safe to run twice at once, and again after being killed."""
    _up(invocation)


def _up(invocation: Invocation) -> None:
    settings = invocation.settings()
    applied = run(migrations.up(settings, partial(say, error=invocation.as_json)))
    if invocation.as_json:
        print_json({"applied": applied})
    elif not applied and (problems := ask(settings, migrations.verify)):
        problem = foremost(problems)
        say(f"No migration is pending, but {problem.message}")
        say(f"  {problem.advice}")
    elif not applied:
        say("The schema is up to date.")


@command.command("status", epilog="Example: embedq-tui migrate status --json")
@operator_command
def status(invocation: Invocation) -> None:
    """List every migration and whether it is applied."""
    states = ask(invocation.settings(), migration_states)
    if invocation.as_json:
        print_json({"current": all(state.state == "applied" for state in states), "migrations": states})
        return
    columns = [Column("Version", right=True), Column("Name"), Column("State"), Column("Applied", wrap=True)]
    print_table(columns, [_row(state) for state in states])
    say()
    say(_verdict([state.state for state in states]))


def _verdict(states: list[str]) -> str:
    """What to do next, judging by the states."""
    if "unknown" in states:
        return "The schema was created by a newer embedq; install that version."
    if "changed" in states:
        return "A migration file differs from what was applied. For advice run: embedq-tui migrate verify"
    if pending := states.count("pending"):
        return f"{count(pending, 'migration')} pending. To apply: embedq-tui --migrate"
    return "The schema is up to date."


def _row(state: MigrationState) -> list[str]:
    when = ""
    if state.applied_at:
        when = f"{state.applied_at.astimezone():%Y-%m-%d %H:%M:%S} by {state.applied_by} with {state.program}"
    return [f"{state.version:03}", state.name, state.state, when]


@command.command("verify", epilog="Example: embedq-tui migrate verify")
@operator_command
def verify(invocation: Invocation) -> ExitCode:
    """Check that everything the migrations create is there. Exits 1 if anything is missing."""
    problems = ask(invocation.settings(), migrations.verify)
    if invocation.as_json:
        print_json({"ok": not problems, "problems": problems})
    elif not problems:
        say("The schema is complete.")
    else:
        for problem in problems:
            say(problem.message)
            say(f"  {problem.advice}")
    return ExitCode.NO if problems else ExitCode.OK


@command.command("roles", epilog="Example: embedq-tui migrate roles")
@operator_command
def roles(invocation: Invocation) -> None:
    """Create the roles embedq_viewer, embedq_operator and embedq_worker with the least privileges they need.

    They are not login roles; grant them to those that are: GRANT embedq_operator TO alice. Run this again
    after every migration.
    """
    settings = invocation.settings()
    run(migrations.grant_roles(settings, partial(say, error=invocation.as_json)))
    if invocation.as_json:
        print_json({"roles": migrations.ROLES})
    else:
        say(f"The roles {', '.join(migrations.ROLES)} have their privileges.")


@command.command("rollback", epilog="Example: embedq-tui migrate rollback --to 2")
@click.option("--to", "version", type=Number(0), required=True, metavar="N", help="Last version to keep.")
@click.option(
    "--yes",
    is_flag=True,
    help="Skip the confirmation; it is needed if data is dropped (N < 4), or workers are running.",
)
@operator_command
def rollback(invocation: Invocation, version: int, yes: bool) -> ExitCode:
    """Roll back migrations, latest first.

    --to 2 removes what embedq added and leaves the public tables as they were; --to 1 also drops the queue
    and its tasks; --to 0 also drops the article tables, if embedq created them and they hold no articles.
    """
    settings = invocation.settings()
    doubts = [] if yes else _doubts(version, _running(settings, version))
    refused = bool(doubts) and not confirm(f"{' '.join(doubts)} Continue?")
    progress = partial(say, error=invocation.as_json)
    undone = [] if refused else run(migrations.rollback(settings, version, progress))
    if invocation.as_json:
        print_json({"taken_back": undone})
    elif not undone:
        say("Nothing was rolled back." if refused else "There is nothing to roll back.")
    return ExitCode.NO if refused else ExitCode.OK


def _doubts(version: int, running: Sequence[str]) -> list[str]:
    """Why a rollback to a version may not be intended: what it deletes, and whom it stops."""
    doubts = []
    if running:
        named = ", ".join(running[:NAMED]) + (", ..." if len(running) > NAMED else "")
        are = "is" if len(running) == 1 else "are"
        doubts.append(f"{count(len(running), 'worker')} {are} running, and cannot go on after it: {named}.")
    if lost := _lost(version):
        doubts.append(f"This deletes {lost}.")
    return doubts


def _running(settings: Settings, version: int) -> list[str]:
    """Workers from which a rollback to a version would take what they work with."""

    async def look(connection: Connection) -> list[str]:
        states = await migration_states(connection)
        if all(state.state == "pending" for state in states if state.version > version):
            return []
        return [worker.place for worker in (await overview(connection, settings)).alive]

    try:
        return ask(settings, look)
    except SchemaError:  # so damaged that no worker runs; a rollback may be the remedy
        return []


def _lost(version: int) -> str:
    """What a rollback to a version deletes for good; empty if nothing."""
    if version < QUEUE_VERSION:
        embeddings = ", and the embeddings, if embedq created that table" if version == 0 else ""
        return f"the queue and every task in it{embeddings}"
    if version < RECORDS_VERSION:
        return "what embedq knows of each embedding, so that a later backfill embeds every article again"
    return ""
