"""Tables of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from embedq_tui.commands.output import Column, console, print_table
from embedq_tui.rendering.words import article_of, relative
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


def when(task: TaskRow, now: datetime) -> str:
    """Age of a task's time; ``in 5 min`` if it is not due yet."""
    if task.at is None:
        return "unknown"
    return relative((now - task.at).total_seconds())


def _more(task: TaskRow) -> list[str]:
    return [task.priority, task.operation, f"{task.attempts}/{task.max_attempts}", task.error]
