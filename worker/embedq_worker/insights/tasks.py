"""Lists of tasks, page by page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from embedq_worker.database.connections import FILTER_TIMEOUT_S, Connection
from embedq_worker.errors import UsageError
from embedq_worker.queue.selection import (
    PLAN,
    TIME,
    Branch,
    Cursor,
    Order,
    Parameters,
    Selection,
    in_order_of_claims,
    select,
)
from embedq_worker.queue.wanted import TaskFilter

WHOLE = 2**31 - 1
"""No limit to the characters of a text."""


class TaskRow(NamedTuple):
    """A task.

    Attributes:
        slug: Slug of the task or, without one, of its article.
        at: When it is due (pending), was claimed (processing) or ended; None if unknown.
        error: As stored; empty if there is none.
        worker: Worker that holds it; None for another program's worker, and if no one holds it.
    """

    id: UUID
    article_id: int | None
    slug: str | None
    operation: str
    priority: str
    status: str
    attempts: int
    max_attempts: int
    created_at: datetime | None
    scheduled_at: datetime | None
    processed_at: datetime | None
    completed_at: datetime | None
    at: datetime | None
    error: str
    worker: UUID | None

    def waits(self, now: datetime) -> bool:
        """Whether it is pending, but not due yet.

        Args:
            now: The database's time.
        """
        return self.status == "pending" and self.scheduled_at is not None and self.scheduled_at > now


class TaskPage(NamedTuple):
    """A page of a list.

    Attributes:
        at: The database's time.
        next: Position of the next page; None on the last one.
    """

    at: datetime
    tasks: tuple[TaskRow, ...]
    next: Cursor | None


async def list_tasks(
    connection: Connection,
    wanted: TaskFilter,
    *,
    limit: int = 50,
    after: Cursor | None = None,
    direction: Order = "newest",
    longest: int = WHOLE,
) -> TaskPage:
    """List tasks by time, or in the order in which workers claim them, page by page.

    Reads one page from an index for each status. A filter on a rare text reads past all other tasks until the
    page is full.

    Args:
        connection: To the migrated database.
        wanted: Which tasks.
        limit: Tasks per page.
        after: `TaskPage.next` of the previous page, with the same filter and direction.
        direction: The newest or the oldest first; or, for pending tasks only, the next to be claimed.
        longest: Maximum characters of an error.

    Raises:
        UsageError: `after` belongs to another list, or these tasks cannot be listed in the order of claims.
    """
    ranked = direction == "next"
    if ranked and not in_order_of_claims(wanted):
        raise UsageError("only pending tasks can be listed in the order of claims, and not by operation")
    chosen = await select(connection, wanted, ranked=ranked)
    statement, arguments = _page(chosen, limit + 1, after, direction, longest)
    async with connection.transaction(readonly=True):
        await connection.execute(PLAN)
        rows = await connection.fetch(statement, *arguments, timeout=FILTER_TIMEOUT_S) if statement else []
    # A statement that waited for a lock sees what happened while it waited.
    at = rows[0]["now"] if rows else chosen.at
    found = tuple(task_of(row) for row in rows[:limit])
    if len(rows) <= limit:
        return TaskPage(at, found, None)
    last = rows[limit - 1]
    return TaskPage(at, found, Cursor(last["key"], last["id"], last["rank"] if ranked else None))


async def recent(connection: Connection, *, limit: int = 20) -> TaskPage:
    """The tasks to which something happened last: they ended, were claimed, or became due.

    Args:
        connection: To the migrated database.
        limit: Maximum number of tasks.
    """
    return await list_tasks(connection, TaskFilter(until=timedelta(0)), limit=limit)


async def statuses_of(connection: Connection, tasks: Sequence[UUID]) -> Counter[str]:
    """Count tasks by status.

    Args:
        connection: To the migrated database.
        tasks: Their ids; those that no longer exist are not counted.
    """
    rows = await connection.fetch(
        "SELECT status FROM embedding_tasks WHERE id = ANY ($1::uuid[])", list(tasks)
    )
    return Counter(row["status"] for row in rows)


def _page(
    chosen: Selection, size: int, after: Cursor | None, direction: Order, longest: int
) -> tuple[str, list[object]]:
    """The statement for a page and its arguments; empty if the page must be empty."""
    other = after is not None and (after.rank is not None) != (direction == "next")
    if other or (after and after.time and not any(branch.time for branch in chosen.branches)):
        raise UsageError("--after does not belong to this list")
    parameters = Parameters(chosen.arguments)
    columns, limit = task_columns(f"{parameters.add(longest)}::int"), f"{parameters.add(size)}::int"
    parts = []
    for branch in chosen.branches:
        beyond = branch.beyond(after, direction, parameters) if after else "true"
        if beyond is not None:
            parts.append(_part(columns, branch, beyond, direction, limit))
    if not parts:
        return "", []
    order = _ORDERS[direction]
    statement = f"""
        SELECT l.*, coalesce(l.task_slug, a.slug) AS slug, clock_timestamp() AS now
        FROM (SELECT * FROM ({" UNION ALL ".join(parts)}) AS t ORDER BY {order.replace("l.", "t.")}
              LIMIT {limit}) AS l
        LEFT JOIN articles a ON a.id = l.article_id ORDER BY {order}"""
    return statement, parameters


_ORDERS: Mapping[Order, str] = {
    "newest": "l.key DESC NULLS LAST, l.id DESC",
    "oldest": "l.key NULLS FIRST, l.id",
    "next": "l.rank, l.key NULLS LAST, l.id",
}


def _part(columns: str, branch: Branch, beyond: str, direction: Order, limit: str) -> str:
    return f"""(SELECT {columns}, {branch.time or "NULL::timestamptz"} AS key, {branch.rank} AS rank
                FROM embedding_tasks t
                WHERE {branch.where} AND {beyond}
                ORDER BY {branch.ordered(direction)} LIMIT {limit})"""


def task_columns(longest: str) -> str:
    """Columns of a task, with errors truncated in the database to bound the size of a page.

    Args:
        longest: Placeholder of the parameter with the number of characters.
    """
    return f"""t.id, t.article_id, t.slug AS task_slug, coalesce(t.operation, '') AS operation,
    coalesce(t.priority, '') AS priority, coalesce(t.status, '') AS status,
    coalesce(t.attempts, 0) AS attempts, coalesce(t.max_attempts, 3) AS max_attempts,
    t.created_at, t.scheduled_at, t.processed_at, t.completed_at, {TIME} AS at,
    coalesce(left(t.error_message, {longest}), '') AS error,
    CASE WHEN t.status = 'processing' AND t.claimed_at = t.processed_at THEN t.worker_id END AS worker"""


def task_of(row: asyncpg.Record) -> TaskRow:
    """A task from the columns of `task_columns` and ``slug``."""
    return TaskRow._make(row[name] for name in TaskRow._fields)
