"""Deleting data older than the retention period. Shared by the command and the console."""

from __future__ import annotations

from collections.abc import Callable

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import open_pool
from embedq_worker.database.failures import EXPECTED_ERRORS, explained
from embedq_worker.insights.rights import require_cleaner
from embedq_worker.queue.retention import Cleaned, clean_up, note_cleanup


async def clean(
    settings: Settings, days: int, found: Cleaned, by: str, progress: Callable[[Cleaned], None]
) -> Cleaned | None:
    """Delete in batches, and record in the audit log who did it.

    Args:
        settings: Where the database is.
        days: Delete what is older than this.
        found: What was counted before.
        by: The operator as ``user@host``.
        progress: Called after each batch with what is deleted so far.

    Returns:
        What was deleted; None if a worker is running the cleanup already.

    Raises:
        EmbedqError: The role lacks a privilege, and nothing was deleted; or the database failed, and what
            was deleted until then stays deleted.
    """
    try:
        async with open_pool(settings, "embedq-tui", size=1) as pool:
            async with pool.acquire() as connection:
                await require_cleaner(connection)
                await note_cleanup(connection, days=days, found=found, by=by)
            return await clean_up(pool, days=days, progress=progress)
    except EXPECTED_ERRORS as error:
        raise explained(error, settings) from error
