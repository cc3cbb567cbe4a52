"""What another program's worker left behind in the tasks themselves."""

from __future__ import annotations

from embedq_worker.database.connections import Connection
from embedq_worker.queue.counts import COUNTING_S


async def overspent_tasks(connection: Connection) -> int:
    """Failed tasks with more attempts than they were given: another program's worker counts on.

    Args:
        connection: To the migrated database.
    """
    return int(
        await connection.fetchval(
            "SELECT count(*) FROM embedding_tasks WHERE status = 'failed' AND attempts > max_attempts",
            timeout=COUNTING_S,
        )
    )
