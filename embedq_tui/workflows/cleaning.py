"""Deleting what is older than the retention: for the command and for the console."""

from __future__ import annotations

from collections.abc import Callable

from embedq_tui.output import count
from embedq_worker.database.connections import open_pool
from embedq_worker.database.failures import EXPECTED_ERRORS, explained
from embedq_worker.insights.access import CLEANER, require_rights
from embedq_worker.service.maintenance import Cleaned, clean_up, note_cleanup
from embedq_worker.settings import Settings


def words_of(rows: Cleaned) -> str:
    """Rows in words."""
    return (
        f"{count(rows.tasks, 'completed task')}, {count(rows.audit_rows, 'audit row')}, "
        f"{count(rows.metrics, 'metric')}, {count(rows.workers, 'ended worker')}"
    )


async def clean(
    settings: Settings, days: int, found: Cleaned, by: str, progress: Callable[[Cleaned], None]
) -> Cleaned | None:
    """Delete, in batches, and enter into the audit log who does it.

    Args:
        settings: Where the database is.
        days: What is older.
        found: As it was counted.
        by: Operator as ``user@host``.
        progress: Told after each batch what is deleted.

    Returns:
        What was deleted; None where a worker is at it already.

    Raises:
        EmbedqError: The role lacks a right: nothing is deleted. Or the database does not answer; what was
            deleted until then stays deleted.
    """
    try:
        async with open_pool(settings, "embedq-tui", size=1) as pool:
            async with pool.acquire() as connection:
                await require_rights(connection, CLEANER, "embedq_worker")
                await note_cleanup(connection, days=days, found=found, by=by)
            return await clean_up(pool, days=days, progress=progress)
    except EXPECTED_ERRORS as error:
        raise explained(error, settings) from error
