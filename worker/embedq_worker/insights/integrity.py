"""Inconsistencies that another program's worker left behind in the tasks."""

from __future__ import annotations

from embedq_worker.database.connections import Connection
from embedq_worker.queue.counts import COUNTING_S


async def overspent_tasks(connection: Connection) -> int:
    """Count failed tasks with more attempts than max_attempts, as another program's worker leaves them.

    Args:
        connection: To the migrated database.
    """
    return int(
        await connection.fetchval(
            "SELECT count(*) FROM embedding_tasks WHERE status = 'failed' AND attempts > max_attempts",
            timeout=COUNTING_S,
        )
    )
