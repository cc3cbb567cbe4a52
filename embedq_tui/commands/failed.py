"""`embedq-tui failed`: failed tasks, grouped by error."""

from __future__ import annotations

from collections.abc import Iterator

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, after_option, limit_option, operator_command
from embedq_tui.commands.output import Column, print_json, print_table, say, say_wrapped
from embedq_tui.rendering.outcomes import folder_words
from embedq_tui.rendering.words import ago, article_of, count, moment
from embedq_worker.insights.failures import FOLDERS_OF, Failures, GroupCursor, failures
from embedq_worker.insights.shares import percentage
from embedq_worker.text import printable_line

DETAILED = 3
"""Tasks shown per group with --details."""


@click.command("failed", epilog="Example: embedq-tui failed --details --limit 5")
@click.option("--details", is_flag=True, help="Show full errors, the newest tasks and what to do.")
@click.option("--latest", is_flag=True, help="Show the groups that failed last instead of the largest.")
@limit_option("Groups per page, largest first.", default=20, most=1000)
@after_option(GroupCursor.parse)
@operator_command
def command(
    invocation: Invocation, details: bool, latest: bool, limit: int, after: GroupCursor | None
) -> None:
    """Show failed tasks, grouped by error.

    Errors that differ only in numbers, names, addresses or quoted text form one group, whose fingerprint is
    stable over time. Exits 0 whether or not any task has failed.
    """
    if latest and after:
        raise click.UsageError("--latest has one page: it cannot be combined with --after")
    samples = DETAILED if details else 1
    found = ask(
        invocation.settings(),
        lambda connection: failures(
            connection, limit=limit, after=after, latest=latest, samples=samples, folders=details
        ),
    )
    order = "latest" if latest else "next" if after else "first"
    if invocation.as_json:
        place = str(found.next) if found.next else None
        print_json({**found._asdict(), "more": place is not None, "next": place})
    elif not found.groups:
        say("No more groups." if after else "No failed tasks.")
    elif details:
        for line in _details(found, order):
            say_wrapped(line, 14)
    else:
        _table(found, order)


def _table(found: Failures, order: str) -> None:
    columns = [
        Column("Group"),
        Column("Tasks", right=True),
        Column("Share", right=True),
        Column("Last seen"),
        Column("Error", wrap=True, least=20),
    ]
    rows = [
        [one.fingerprint, f"{one.count:,}", percentage(one.share), ago(one.last_seen, found.at), one.error]
        for one in found.groups
    ]
    print_table(columns, rows)
    say()
    say(f"{_summary(found, order)}. For advice: embedq-tui failed --details")
    if found.next:
        say(f"More: --after {found.next}")


def _details(found: Failures, order: str) -> Iterator[str]:
    yield _summary(found, order)
    for group in found.groups:
        yield ""
        yield f"{group.fingerprint}  {group.count:,} of {found.failed:,} ({percentage(group.share)})"
        yield f"  first seen  {moment(group.first_seen, found.at)}"
        yield f"  last seen   {moment(group.last_seen, found.at)}"
        yield f"  error       {printable_line(group.newest[0].error if group.newest else group.error)}"
        yield f"  advice      {group.advice}"
        if group.folders:
            newest = f"; of the newest {FOLDERS_OF:,}" if group.count > FOLDERS_OF else ""
            yield f"  folders     {folder_words(group.folders)}{newest}"
        for task in group.newest:
            what = printable_line(article_of(task), 60)
            attempts = f"{task.attempts} of {task.max_attempts} attempts"
            yield f"  task        {task.id}  {task.operation} {what}, {attempts}"
    if found.next:
        yield ""
        yield f"More: --after {found.next}"


def _summary(found: Failures, order: str) -> str:
    failed, groups = count(found.failed, "failed task"), count(len(found.groups), "group")
    if order == "first" and found.next is None:
        return f"{failed} in {groups}"
    return f"{failed}, {order} {groups} shown"
