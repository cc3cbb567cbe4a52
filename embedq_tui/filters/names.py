"""Tasks and workers as operators name them: by the whole id, or by its first digits, as screens show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias
from uuid import UUID

from embedq_tui.filters.values import parse_beginning
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.audit import logged_tasks
from embedq_worker.insights.overview import WorkerRow, overview
from embedq_worker.insights.tasks import list_tasks
from embedq_worker.queue.wanted import TaskFilter

Name: TypeAlias = UUID | str
"""A whole id; or the beginning of one, as digits without hyphens; of a worker also ``HOST/PID``."""


def task_name(text: str) -> Name | None:
    """Parse the id of a task, or its beginning; None if the text is neither."""
    try:
        return UUID(text)
    except ValueError:
        return parse_beginning(text)


async def tasks_named(connection: Connection, names: Sequence[Name]) -> tuple[UUID, ...]:
    """The ids of tasks; whole ids are returned as they are, whether or not such a task exists.

    Args:
        connection: To the migrated database.
        names: From `task_name`.

    Raises:
        EmbedqError: The beginning of an id fits no task, or more than one.
    """
    return tuple([await _task_named(connection, name) for name in names])


async def logged_task_named(connection: Connection, name: Name) -> UUID:
    """The same for one task that may be deleted, as long as the audit log tells of it."""
    return await _task_named(connection, name, logged=True)


async def _task_named(connection: Connection, name: Name, *, logged: bool = False) -> UUID:
    if isinstance(name, UUID):
        return name
    page = await list_tasks(connection, TaskFilter(id_begins=name), limit=2)
    found = {task.id for task in page.tasks} | set(await logged_tasks(connection, name) if logged else ())
    if not found:
        raise EmbedqError(
            f"there is no task {name}..",
            "completed tasks are deleted after the retention period"
            + ("" if logged else f"; what is known of it: embedq-tui audit --task {name}"),
        )
    if len(found) > 1:
        raise EmbedqError(
            f"more than one task id begins with {name}", f"give more of it, such as {min(found)}"
        )
    return found.pop()


async def worker_named(connection: Connection, settings: Settings, name: Name) -> WorkerRow:
    """Find a worker among those that have not ended.

    Args:
        connection: To the database.
        settings: For reading the workers.
        name: As an operator names it.

    Raises:
        EmbedqError: No worker matches, or more than one.
    """
    seen = await overview(connection, settings)
    found = [worker for worker in seen.workers if _fits(worker, name)]
    if not found:
        raise EmbedqError(f"no worker {name} is running", "running workers are shown by: embedq-tui status")
    if len(found) > 1:
        raise EmbedqError(f"{len(found)} workers match {name}", f"use an id instead, such as {found[0].id}")
    return found[0]


def _fits(worker: WorkerRow, name: Name) -> bool:
    if isinstance(name, UUID):
        return worker.id == name
    return worker.id.hex.startswith(name) or worker.place == name
