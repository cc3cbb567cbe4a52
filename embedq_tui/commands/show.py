"""`embedq-tui show`: everything known about a task."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, operator_command
from embedq_tui.commands.output import print_json, say
from embedq_tui.commands.selecting import TaskName
from embedq_tui.commands.task_table import when
from embedq_tui.filters.names import Name, tasks_named
from embedq_tui.rendering.article_lines import article_lines
from embedq_tui.rendering.audit_lines import details_of
from embedq_tui.rendering.words import article_of, moment, times_of
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.detail import TaskDetail, task_detail
from embedq_worker.insights.events import Event
from embedq_worker.text import printable_line


@click.command("show", epilog="Example: embedq-tui show 01a20e58-c777-73ab-9609-1ff580477dd1")
@click.argument("task", type=TaskName(), metavar="TASK_ID")
@operator_command
def command(invocation: Invocation, task: Name) -> None:
    """Show a task with its history, its article and the article's other tasks.

    Exits 1 if it does not exist.
    """
    settings = invocation.settings()
    found = ask(settings, lambda connection: _find(connection, settings, task))
    if found is None:
        raise EmbedqError(
            f"there is no task {task}",
            "tasks are deleted after the retention period, and with their article; "
            f"what the log knows of it: embedq-tui audit --task {task}",
        )
    if invocation.as_json:
        print_json(found)
        return
    for line in _lines(found):
        say(line)


async def _find(connection: Connection, settings: Settings, task: Name) -> TaskDetail | None:
    (whole,) = await tasks_named(connection, (task,))
    return await task_detail(connection, settings, whole)


def _lines(found: TaskDetail) -> Iterator[str]:
    yield from _task(found)
    if found.article:
        yield from article_lines(found.article, found.at)
    elif found.task.article_id is not None:
        yield f"Article {found.task.article_id} no longer exists"
    if found.timeline:
        yield "History"
    for event in found.timeline:
        yield from _event(event)
    if found.stack_trace:
        yield "Stack trace"
        yield from (f"  {line}" for line in found.stack_trace.splitlines())
    if found.related:
        yield "Other tasks of the article, newest first"
    for other in found.related:
        yield f"  {other.id}  {other.status:<10} {other.operation:<6} {when(other, found.at)}"


def _task(found: TaskDetail) -> Iterator[str]:
    task, now = found.task, found.at
    yield f"Task {task.id}: {task.status}"
    yield f"  {task.operation} of {printable_line(article_of(task))}, priority {task.priority}"
    yield f"  attempts   {task.attempts} of {task.max_attempts}"
    for name, time in times_of(task):
        yield f"  {name:<10} {moment(time, now)}"
    if task.worker:
        yield f"  worker     {task.worker}"
    if task.error:
        yield f"  error      {printable_line(task.error)}"
    if found.advice:
        yield f"  advice     {found.advice}"
    if found.metadata is not None:
        yield f"  metadata   {json.dumps(found.metadata)}"


def _event(event: Event) -> Iterator[str]:
    head = f"  {event.at.astimezone():%Y-%m-%d %H:%M:%S}  {event.level:<5}"
    yield "  ".join([head, *map(printable_line, (event.message, *details_of(event)))])
    if event.error:
        yield f"    {printable_line(event.error)}"
