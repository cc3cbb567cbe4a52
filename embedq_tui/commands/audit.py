"""`embedq-tui audit`: the audit log, past and live."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, TextValue, limit_option, operator_command
from embedq_tui.commands.output import console, is_terminal, print_error, print_json, require_reader, say
from embedq_tui.commands.selecting import Moment, TaskName
from embedq_tui.filters.audit_filter import Wanted
from embedq_tui.filters.names import Name
from embedq_tui.rendering.audit_lines import STYLES, WIDE, audit_line, document
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.database.following import FailedLook, follow
from embedq_worker.errors import ExitCode
from embedq_worker.insights.audit import (
    CATEGORIES,
    LEVELS,
    AuditFilter,
    AuditRow,
    audit_page,
)
from embedq_worker.insights.audit_tail import AuditTail
from embedq_worker.process.running import run
from embedq_worker.text import age, printable_line

EVERY_S = 1.0
"""Without notifications, poll once a second for rows of other programs, which send none; where nothing was
committed a poll reads nothing."""

PAUSE_S = 0.1


@click.command("audit", epilog="Example: embedq-tui audit --follow --level warn")
@limit_option("Newest rows to show.", default=50, most=100_000, least=0)
@click.option("--follow", "-f", "following", is_flag=True, help="Keep printing new rows until Ctrl-C.")
@click.option("--level", type=click.Choice(LEVELS), help="This level and more severe ones.")
@click.option(
    "--category",
    type=click.Choice(CATEGORIES),
    metavar="CATEGORY",
    help=f"Only this category: {', '.join(CATEGORIES)}.",
)
@click.option("--task", type=TaskName(), metavar="ID", help="Only this task.")
@click.option("--article", type=TextValue(), metavar="ID|SLUG", help="Only this article.")
@click.option(
    "--operation", type=TextValue(), metavar="ID", help="Only this operation: a bulk action or a backfill."
)
@click.option(
    "--since",
    type=Moment(past=True),
    metavar="TIME",
    help="Since then: 2h or 3d (ago), or 2026-11-24T15:00Z.",
)
@click.option(
    "--text", type=TextValue(), metavar="TEXT", help="Only rows whose message, error or metadata contain it."
)
@operator_command
def command(
    invocation: Invocation,
    limit: int,
    following: bool,
    level: str | None,
    category: str | None,
    task: Name | None,
    article: str | None,
    operation: str | None,
    since: datetime | timedelta | None,
    text: str | None,
) -> ExitCode:
    """Show the audit log, newest row last. Exits 1 if no row matches all of the options.

    With --json each row is one object on its own line. --follow shows every row committed from then on,
    including rows that are committed late and so carry an earlier time. If the connection is lost it
    reconnects for as long as it takes, and then shows what was missed.
    """
    if not (limit or following):
        raise click.BadParameter("0 shows nothing without --follow", param_hint="--limit")
    settings = invocation.settings()
    asked = Wanted(AuditFilter(level, category, None, None, operation, since, text), task, article)
    shown = _Lines(as_json=invocation.as_json)
    if following:
        run(_follow(settings, asked, limit, shown))
    rows = ask(settings, lambda connection: _newest(connection, asked, limit))
    shown.show(rows)
    if not rows and not invocation.as_json:
        say("No audit rows match.")
    return ExitCode.OK if rows else ExitCode.NO


async def _newest(connection: Connection, asked: Wanted, limit: int) -> Sequence[AuditRow]:
    """The newest matching rows, in chronological order."""
    return (await audit_page(connection, await asked.look_up(connection), limit=limit)).rows[::-1]


async def _follow(settings: Settings, asked: Wanted, limit: int, shown: _Lines) -> None:
    tail: AuditTail | None = None

    async def look(connection: Connection) -> AsyncIterator[Sequence[AuditRow]]:
        nonlocal tail
        if tail is None:
            wanted = await asked.look_up(connection)
            tail = AuditTail(wanted)
            await tail.begin(connection)
            before = (await audit_page(connection, wanted, limit=limit)).rows
            for row in before:
                tail.told(row)
            yield before[::-1]
        async for rows in tail.news(connection):
            yield rows
        yield ()

    lost = False
    async with aclosing(follow(settings, look, every_s=EVERY_S, pause_s=PAUSE_S)) as followed:
        async for found in followed:
            if isinstance(found, FailedLook):
                lost = True
                print_error(f"{found.error.message}; retrying in {age(found.retry_in_s)}")
                continue
            if lost:
                lost = False
                print_error("reconnected; rows committed in the meantime follow")
            shown.show(found)
            require_reader()


class _Lines:
    """Writes rows as they arrive.

    Args:
        as_json: One JSON object per row.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def show(self, rows: Sequence[AuditRow]) -> None:
        """Write rows."""
        if self._as_json:
            for row in rows:
                print_json(document(row), compact=True)
        elif is_terminal(sys.stdout):
            self._show_on_terminal(rows)
        else:
            for row in rows:
                error = f"  error: {printable_line(row.event.error)}" if row.event.error else ""
                say(audit_line(row, wide=True) + error)

    def _show_on_terminal(self, rows: Sequence[AuditRow]) -> None:
        from rich.text import Text

        terminal = console()
        for row in rows:
            style = STYLES.get(row.event.level, "")
            lines = [audit_line(row, wide=terminal.width >= WIDE)]
            if row.event.error:
                lines.append(f"{'':>21}{printable_line(row.event.error)}")
            for line in lines:
                terminal.print(Text(line, style=style), no_wrap=True, overflow="ellipsis")
