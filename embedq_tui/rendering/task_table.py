"""Tables of tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from embedq_tui.output import Column, console, print_table
from embedq_tui.rendering.words import relative

if TYPE_CHECKING:
    from embedq_worker.insights.failures import FailedTask
    from embedq_worker.insights.stuck import StuckTask
    from embedq_worker.insights.tasks import TaskRow

WIDE = 130
"""Width, in columns, from which every column fits."""


def print_tasks(tasks: Sequence[TaskRow], now: datetime) -> None:
    """Write a table of tasks, with fewer columns on a narrow terminal.

    Args:
        tasks: In the order to show.
        now: The database's time.
    """
    wide = console().width >= WIDE
    columns = [
        Column("Task"),
        Column("Status"),
        Column("Article", least=8),
        Column("When", right=True),
    ]
    rows = [[str(task.id), task.status, article_of(task), when(task, now)] for task in tasks]
    if wide:
        columns += [
            Column("Priority"),
            Column("Operation"),
            Column("Attempts", right=True),
            Column("Error", least=20),
        ]
        rows = [[*row, *_more(task)] for row, task in zip(rows, tasks, strict=True)]
    print_table(columns, rows)


def article_of(task: TaskRow | FailedTask | StuckTask) -> str:
    """The slug of a task's article, or else its id."""
    return task.slug or ("no article" if task.article_id is None else f"article {task.article_id}")


def when(task: TaskRow, now: datetime) -> str:
    """Age of a task's time; ``in 5 min`` if it is not due yet."""
    if task.at is None:
        return "unknown"
    return relative((now - task.at).total_seconds())


def times_of(task: TaskRow) -> Iterator[tuple[str, datetime]]:
    """The known times of a task, each with what happened then.

    Args:
        task: The task.
    """
    for name, time in (
        ("created", task.created_at),
        ("due", task.scheduled_at),
        ("claimed", task.processed_at),
        ("ended", task.completed_at),
    ):
        if time is not None:
            yield name, time


def _more(task: TaskRow) -> list[str]:
    return [task.priority, task.operation, f"{task.attempts}/{task.max_attempts}", task.error]
