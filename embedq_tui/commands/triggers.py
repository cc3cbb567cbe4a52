"""`embedq-tui triggers`: queue articles that any program saves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, operator, operator_command
from embedq_tui.commands.output import print_json, say
from embedq_tui.rendering.outcomes import trigger_words
from embedq_worker.actions import article_trigger
from embedq_worker.actions.article_trigger import ArticleTrigger
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.schema.state import require_current


@click.group("triggers", epilog="Example: embedq-tui triggers install")
def command() -> None:
    """Queue articles that any program saves, changes or deletes, with a trigger on the table `articles`.

    Without it, an article is queued only by the program that saves it, by `embedq-tui import` or by
    `embedq-tui backfill`. The trigger never makes a save fail.
    """


@command.command("install", epilog="Example: embedq-tui triggers install")
@operator_command
def install(invocation: Invocation) -> None:
    """Install the trigger, or repair an existing one."""

    async def act(connection: Connection, settings: Settings) -> bool:
        await require_current(connection)
        return await article_trigger.install(connection, max_attempts=settings.max_retries, by=operator())

    _act(invocation, act)


@command.command("remove", epilog="Example: embedq-tui triggers remove")
@operator_command
def remove(invocation: Invocation) -> None:
    """Remove the trigger; tasks it has queued stay."""
    _act(invocation, lambda connection, _: article_trigger.remove(connection, by=operator()))


@command.command("status", epilog="Example: embedq-tui triggers status --json")
@operator_command
def status(invocation: Invocation) -> None:
    """Show whether the trigger is installed."""
    _act(invocation, None)


def _act(invocation: Invocation, act: Callable[[Connection, Settings], Awaitable[bool]] | None) -> None:
    """Change the trigger (None: only look), and report its state."""
    settings = invocation.settings()

    async def run(connection: Connection) -> tuple[bool, ArticleTrigger]:
        changed = await act(connection, settings) if act else False
        return changed, await article_trigger.status(connection)

    changed, state = ask(settings, run)
    if invocation.as_json:
        print_json(
            {
                "changed": changed,
                "installed": state.installed,
                "enabled": state.enabled,
                "events": state.events,
                "disabled": state.disabled,
                "max_attempts": state.max_attempts,
            }
        )
    else:
        say(trigger_words(state))
