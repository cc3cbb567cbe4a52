"""The list of tasks as tests use it: tasks for it, and its table."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from embedq_tui.screens.tasks.screen import TasksScreen
from embedq_tui.widgets.keyed_table import KeyedTable
from tests.console.running import ConsolePilot
from tests.support.databases import Connection
from tests.support.waiting import until


async def add_tasks(
    connection: Connection,
    count: int,
    *,
    slug: str = "s",
    status: str = "failed",
    error: str = "no answer",
    ago_s: int = 1_000,
) -> list[UUID]:
    """Add tasks without articles, of which each one's time is a second before the one before it.

    Returns:
        Their ids, the newest first.
    """
    rows = await connection.fetch(
        """INSERT INTO embedding_tasks (slug, operation, status, scheduled_at, completed_at, error_message)
           SELECT $2 || '-' || g, 'create', $3::text, now() - ($5 + g) * interval '1 s',
                  CASE WHEN $3 IN ('completed', 'failed') THEN now() - ($5 + g) * interval '1 s' END,
                  CASE WHEN $3 = 'failed' THEN $4::text END
           FROM generate_series(1, $1::int) AS g RETURNING id, slug""",
        count,
        slug,
        status,
        error,
        ago_s,
    )
    return [row["id"] for row in sorted(rows, key=lambda row: int(row["slug"].rsplit("-", 1)[1]))]


async def opened(pilot: ConsolePilot) -> KeyedTable:
    """Show the list and give back its table."""
    await pilot.press("2")
    await until(lambda: isinstance(pilot.app.screen, TasksScreen) and pilot.app.screen.focused is not None)
    return pilot.app.screen.query_one("#list", KeyedTable)


def keys(ids: list[UUID]) -> tuple[str, ...]:
    """Of the rows of these tasks."""
    return tuple(map(str, ids))


def at(table: KeyedTable, task: UUID) -> Callable[[], bool]:
    """Whether the cursor is on a task."""
    return lambda: table.current == str(task)


async def statuses(connection: Connection, ids: list[UUID]) -> list[str]:
    """Of these tasks, in their order."""
    rows = await connection.fetch("SELECT id, status FROM embedding_tasks WHERE id = ANY ($1::uuid[])", ids)
    found = {row["id"]: row["status"] for row in rows}
    return [found[task] for task in ids]
