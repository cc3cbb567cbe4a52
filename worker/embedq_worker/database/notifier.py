"""Notify consoles that a worker changed something, at most ten times a second however fast it works."""

from __future__ import annotations

import asyncio

from embedq_worker.database.channels import CHANGES
from embedq_worker.database.connections import Pool
from embedq_worker.database.failures import EXPECTED_ERRORS

PAUSE_S = 0.1

RETRY_S = 1.0
"""Seconds between tries while the database is away: each opens a connection, of every worker."""

_TELL = "SELECT set_config('synchronous_commit', 'off', true), embedq_notify($1, 'tasks')"
"""Without waiting for the WAL to be flushed: a notification does not survive a crash anyway."""


class Notifier:
    """Sends one notification for all changes since the last.

    Args:
        pool: To the migrated database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Something was committed."""
        self._changed.set()

    async def run(self) -> None:
        """Notify for ever; ends by cancellation only."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            pause_s = PAUSE_S
            try:
                await self._pool.execute(_TELL, CHANGES)
            except EXPECTED_ERRORS:
                # Sent again when the pool has reconnected; consoles resync after reconnecting.
                self._changed.set()
                pause_s = RETRY_S
            await asyncio.sleep(pause_s)
