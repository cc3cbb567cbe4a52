"""Tells consoles that a worker changed something: at most ten times a second, whatever the worker's pace."""

from __future__ import annotations

import asyncio

from embedq_worker.database.connections import Pool
from embedq_worker.database.failures import EXPECTED_ERRORS

CHANNEL = "embedq_changes"
PAUSE_S = 0.1

_TELL = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, 'tasks')"
"""Nobody waits for the disk because of a signal, which does not outlive a crash anyway."""


class Notifier:
    """Merges changes into notifications.

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
            try:
                await self._pool.execute(_TELL, CHANNEL)
            except EXPECTED_ERRORS:
                # Consoles resync when they are connected again; so do we, when the pool is.
                self._changed.set()
            await asyncio.sleep(PAUSE_S)
