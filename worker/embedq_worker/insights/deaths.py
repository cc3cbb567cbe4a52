"""Workers that died lately: which, when, on which host, what they held, and whether that was taken back."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from embedq_worker.database.connections import Connection

LATELY_H = 24
MOST = 50
"""A worker that crashes again and again leaves thousands."""


class DeadWorker(NamedTuple):
    """A worker that did not deregister, and was declared dead.

    Attributes:
        note: Why it was declared dead.
        in_hand: Tasks it held then.
        unreturned: Tasks that are still claimed in its name; once there are none, all were taken back.
        heartbeat_at: Its last sign of life.
        died_at: When it was declared dead.
    """

    id: UUID
    host: str
    pid: int
    version: str
    provider: str
    note: str
    in_hand: int
    unreturned: int
    succeeded: int
    failed: int
    started_at: datetime
    heartbeat_at: datetime
    died_at: datetime

    @property
    def place(self) -> str:
        """``host/pid``."""
        return f"{self.host}/{self.pid}"


async def deaths(connection: Connection) -> tuple[DeadWorker, ...]:
    """The workers that died in the last 24 hours, at most `MOST`, the latest first.

    Reads the claimed tasks once if there are any such workers.

    Args:
        connection: To the migrated database.
    """
    async with connection.transaction(readonly=True):
        # So that the plan does not depend on when the tables were last analysed.
        await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
        rows = await connection.fetch(_DEAD, LATELY_H, MOST)
    return tuple(DeadWorker(**row) for row in rows)


# A claim is ours while claimed_at equals processed_at, see `insights.stuck`.
_DEAD = """
WITH claimed AS MATERIALIZED (
    SELECT worker_id, count(*) AS n FROM embedding_tasks
    WHERE status = 'processing' AND claimed_at = processed_at GROUP BY worker_id
)
SELECT w.id, w.host, w.pid, w.version, w.provider, w.note, w.in_hand,
       coalesce((SELECT c.n FROM claimed c WHERE c.worker_id = w.id), 0) AS unreturned,
       w.succeeded, w.failed, w.started_at, w.heartbeat_at, w.stopped_at AS died_at
FROM embedq_workers w
WHERE w.state = 'dead' AND w.stopped_at > now() - make_interval(hours => $1)
ORDER BY w.stopped_at DESC LIMIT $2
"""
