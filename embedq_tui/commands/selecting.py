"""Arguments and options that select tasks and workers, shared by lists and actions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import click

from embedq_tui.commands.invocation import FolderValue, Number, TextValue
from embedq_tui.filters.names import Name, task_name, tasks_named, worker_named
from embedq_tui.filters.values import LEAST_DIGITS, parse_moment, parse_past
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.queue.wanted import TaskFilter, parse_article_id
from embedq_worker.schema.task_values import KINDS, PRIORITIES, STATUSES

F = TypeVar("F", bound=Callable[..., Any])


class TaskName(click.ParamType[Name]):
    """The id of a task, or its beginning."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Name:
        """Parse the value."""
        return task_name(str(value)) or self.fail(
            f"{value!r} is neither an id nor the first {LEAST_DIGITS} digits of one", param, ctx
        )


class WorkerName(click.ParamType[Name]):
    """The id of a worker, its beginning, or ``HOST/PID``."""

    name = "worker"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Name:
        """Parse the value."""
        text = TextValue().convert(value, param, ctx)
        return (text if "/" in text else task_name(text)) or self.fail(
            f"{value!r} is neither HOST/PID, nor an id, nor the first {LEAST_DIGITS} digits of one",
            param,
            ctx,
        )


worker_option = click.option(
    "--worker",
    type=WorkerName(),
    metavar="ID",
    help="Only this worker: HOST/PID or its id, or the start of the id.",
)


class Moment(click.ParamType[datetime | timedelta]):
    """``2h``, ``3d`` (ago), or an ISO 8601 time.

    Args:
        past: It must not be in the future.
    """

    name = "time"

    def __init__(self, *, past: bool = False) -> None:
        self._past = past

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | timedelta:
        """Parse the value."""
        try:
            return (parse_past if self._past else parse_moment)(str(value))
        except ValueError:
            self.fail(
                f"{value!r}: expected 30m, 2h, 3d (ago) or a {'past ' if self._past else ''}time such as "
                "2026-11-24T15:00Z",
                param,
                ctx,
            )


class ArticleId(click.ParamType[int]):
    """The id of an article."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse the value."""
        found = parse_article_id(str(value))
        if found is None:
            self.fail(f"{value!r} is not an article id", param, ctx)
        return found


class JsonObject(click.ParamType[str]):
    """A JSON object."""

    name = "json"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse the value."""
        try:
            found = json.loads(str(value))
            text = json.dumps(found, allow_nan=False, ensure_ascii=False)
            text.encode()
        except (ValueError, RecursionError):  # includes NaN and such, which PostgreSQL does not accept
            found = None
        if not isinstance(found, dict) or "\\u0000" in text:
            self.fail(f'{value!r} is not a JSON object such as {{"source": "import"}}', param, ctx)
        return text


_OPTIONS: dict[str, Callable[[F], F]] = {
    "status": click.option(
        "--status",
        "statuses",
        type=click.Choice(STATUSES),
        multiple=True,
        help="Only tasks in this status; repeatable.",
    ),
    "priority": click.option("--priority", type=click.Choice(PRIORITIES), help="Only this priority."),
    "slug": click.option("--slug", type=TextValue(), metavar="TEXT", help="Only slugs that contain it."),
    "folder": click.option(
        "--folder",
        type=FolderValue(),
        metavar="FOLDER",
        help="Only articles in this folder and its subfolders.",
    ),
    "error": click.option("--error", type=TextValue(), metavar="TEXT", help="Only errors that contain it."),
    "group": click.option(
        "--group", metavar="FINGERPRINT", help="Only this failure group, see `embedq-tui failed`."
    ),
    "article": click.option("--article", type=ArticleId(), metavar="ID", help="Only this article."),
    "worker": click.option(
        "--worker",
        type=WorkerName(),
        metavar="ID",
        help="Only tasks held by this worker: HOST/PID or its id.",
    ),
    "operation": click.option(
        "--operation",
        type=click.UUID,
        metavar="ID",
        help="Only tasks queued by this bulk operation, such as a backfill.",
    ),
    "kind": click.option("--kind", type=click.Choice(KINDS), help="Only this operation on the article."),
    "metadata": click.option(
        "--metadata", type=JsonObject(), metavar="JSON", help="Only metadata that contain this object."
    ),
    "since": click.option(
        "--since",
        type=Moment(),
        metavar="TIME",
        help="Due, claimed or ended since then: 2h or 3d (ago), or 2026-11-24T15:00Z.",
    ),
    "until": click.option("--until", type=Moment(), metavar="TIME", help="Due, claimed or ended until then."),
}


minutes_option = click.option(
    "--minutes",
    "older_s",
    type=Number(0, 100_000),
    callback=lambda context, option, minutes: None if minutes is None else minutes * 60.0,
    metavar="N",
    help="Stuck are those claimed longer ago than this.  [default: EMBEDDING_QUEUE_MAX_PROCESSING_TIME]",
)
"""Adds --minutes, the age at which a claim is stuck; the function receives it in seconds."""


COMMON = ("slug", "folder", "priority", "kind", "article", "operation", "metadata", "since", "until")
"""Names of the options by which tasks of any status are selected."""


def filter_options(*names: str) -> Callable[[F], F]:
    """Add filter options; the function receives their values, to pass to `chosen`."""

    def add(function: F) -> F:
        for name in reversed(names):
            function = _OPTIONS[name](function)
        return function

    return add


@dataclass(frozen=True, slots=True)
class Chosen:
    """Tasks as arguments and options choose them; the names among these are yet to be looked up.

    Attributes:
        wanted: The filter, but for those names.
        tasks: Tasks given by name; empty for all.
        worker: Only tasks held by this worker.
    """

    wanted: TaskFilter
    tasks: Sequence[Name] = ()
    worker: Name | None = None

    async def look_up(self, connection: Connection, settings: Settings) -> TaskFilter:
        """The complete filter.

        Args:
            connection: To the migrated database.
            settings: For reading the workers.

        Raises:
            EmbedqError: A name fits no task or worker, or more than one.
        """
        wanted = self.wanted
        if self.tasks:
            ids = await tasks_named(connection, self.tasks)
            wanted = replace(wanted, ids=tuple(dict.fromkeys(ids)))
        if isinstance(self.worker, UUID):  # perhaps of one that has ended
            wanted = replace(wanted, worker=self.worker)
        elif self.worker is not None:
            wanted = replace(wanted, worker=(await worker_named(connection, settings, self.worker)).id)
        return wanted


def chosen(tasks: Sequence[Name] = (), *, worker: Name | None = None, **values: Any) -> Chosen:
    """Choose tasks by the values of these options.

    Args:
        tasks: Tasks given by name; empty for all.
        worker: As click passes it, None if not given.
        values: The same.

    Raises:
        UsageError: A value is invalid.
    """
    wanted = TaskFilter(**values)
    # The worker is still to be looked up.
    replace(wanted, worker_begins=str(worker) if worker else None).require_possible()
    return Chosen(wanted, tasks, worker)
