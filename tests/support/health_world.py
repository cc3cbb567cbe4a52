"""A queue in a state that `health` judges, and its verdict."""

from __future__ import annotations

from embedq_worker.insights.health import Health, health
from embedq_worker.insights.issues import Code
from tests.support.databases import Connection, Database

ENDED = """
INSERT INTO embedding_tasks (operation, status, completed_at, error_message)
SELECT 'update', $1, now() - $2::text::interval, $4 FROM generate_series(1, $3)
"""

MEASURED = {"pending": Code.BACKLOG, "idle": Code.STALLED}
"""Codes of the measures that have another name."""


async def codes(connection: Connection, database: Database, **settings: float) -> set[str]:
    """What is objected to with these settings."""
    return {issue.code for issue in (await look(connection, database, **settings)).issues}


async def look(connection: Connection, database: Database, **settings: float) -> Health:
    """The verdict with these settings."""
    found = await health(connection, database.settings.model_copy(update=settings))
    assert found.healthy is not bool(found.issues)
    assert all(issue.message and issue.advice for issue in found.issues)
    over = {row.name for row in found.measures if row.threshold is not None and row.value > row.threshold}
    reported = {issue.code for issue in found.issues}
    assert {MEASURED.get(name, name) for name in over} <= reported
    return found


async def end(
    connection: Connection, status: str, count: int, ago: str = "1 minute", error: str | None = None
) -> None:
    """Tasks that ended a while ago."""
    await connection.execute(ENDED, status, ago, count, error)


async def claim(connection: Connection, ago: str) -> None:
    """Take everything in hand, as another program does, a while ago; it was due then."""
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'processing', processed_at = now() - $1::text::interval,
                                      scheduled_at = now() - $1::text::interval""",
        ago,
    )
