"""The console's connections to one database, replaced whenever they break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.blockers import Blocked
from embedq_worker.database.connections import Connection, open_pool
from embedq_worker.database.failures import EXPECTED_ERRORS, explained
from embedq_worker.database.line_watch import LineWatch
from embedq_worker.database.pool import PatientPool
from embedq_worker.errors import EmbedqError, Unreachable

SIZE = 4
"""Maximum connections: two for a screen's questions, one for a running action, one to spare."""

WATCH_S = 2.0
"""Seconds between checks whether a waiting connection is still alive."""

ACQUIRE_WITHIN_S = 10.0

FAREWELL_S = 1.0
"""Seconds the server gets, on exit, to cancel running statements and close the connections."""


class Link:
    """A few connections to one database.

    Args:
        settings: Where it is.

    Attributes:
        place: The database in words, without secrets.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.place = settings.place
        self._pool: PatientPool | None = None
        self._watch = LineWatch(settings, suspect_s=WATCH_S, every_s=WATCH_S, within_s=WATCH_S)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Allow connections inside the block; they are opened on demand."""
        async with (
            open_pool(self.settings, "embedq-tui", size=SIZE, min_size=0, opened=self._watch.add) as pool,
            self._watch.looking(),
        ):
            self._pool = pool
            try:
                yield
            finally:
                self._pool = None

    @asynccontextmanager
    async def connection(self, *, within_s: float | None = None) -> AsyncIterator[Connection]:
        """A connection for the block. One that broke or timed out is discarded.

        Args:
            within_s: Time limit for the whole block, in seconds; None for no limit.

        Raises:
            EmbedqError: A database error, explained.
        """
        if (pool := self._pool) is None:
            raise Unreachable(f"the connection to {self.place} is closed")
        try:
            connection = await pool.acquire(timeout=ACQUIRE_WITHIN_S)
        except EXPECTED_ERRORS as error:
            raise self._explained(error) from error
        try:
            async with asyncio.timeout(within_s):
                yield connection
        except EXPECTED_ERRORS as error:
            # A server that silently vanished would also keep us waiting when closing the connection.
            if isinstance(error, TimeoutError):
                connection.terminate()
            raise self._explained(error) from error
        finally:
            await pool.release(connection)

    def held_up_since(self, then: float) -> bool:
        """Whether a connection has since been found waiting for another session's lock.

        Args:
            then: By `time.monotonic`.
        """
        return self._watch.blocked_at >= then

    def _explained(self, error: BaseException) -> EmbedqError:
        # Where all connections wait for a lock, whoever else wants one runs out of time too.
        blocker = self._watch.blocker if isinstance(error, TimeoutError) else None
        return explained(Blocked(blocker) if blocker else error, self.settings)

    def give_up(self) -> None:
        """Shut down without waiting long for a server that does not close its connections."""
        if self._pool is not None:
            asyncio.get_running_loop().call_later(FAREWELL_S, self._pool.terminate)
