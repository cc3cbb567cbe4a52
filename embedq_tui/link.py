"""The console's way to one database: a few connections, made anew whenever they broke."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from embedq_worker.database import (
    EXPECTED_ERRORS,
    Connection,
    Pool,
    explained,
    open_pool,
    serves,
    waits_since,
    where,
)
from embedq_worker.errors import EmbedqError, Unreachable
from embedq_worker.settings import Settings

SIZE = 4
"""Connections at most: two for what a screen asks, one for an action under way, one to spare."""

WATCH_S = 2.0
"""Seconds from look to look at what an action waits for."""

STRIKES = 3
"""Looks one after the other that have to find it waiting for nothing."""

ACQUIRE_WITHIN_S = 10.0
RELEASE_WITHIN_S = 2.0


class Link:
    """A few connections to one database.

    Args:
        settings: Where it is.

    Attributes:
        place: The database in words, without secrets.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.place = where(settings)
        self._pool: Pool | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connections may be had inside the block; none is opened before somebody wants one."""
        async with open_pool(self.settings, "embedq-tui", size=SIZE, min_size=0) as pool:
            self._pool = pool
            try:
                yield
            finally:
                self._pool = None

    @asynccontextmanager
    async def connection(self, *, within_s: float | None = None) -> AsyncIterator[Connection]:
        """A connection for the block. One that broke or did not answer in time is thrown away.

        Args:
            within_s: Seconds for all of the block; None for any time.

        Raises:
            EmbedqError: What the database did to the block, in words.
        """
        if self._pool is None:
            raise Unreachable(f"the connection to {self.place} is closed")
        try:
            connection = await self._pool.acquire(timeout=ACQUIRE_WITHIN_S)
        except EXPECTED_ERRORS as error:
            raise explained(error, self.settings) from error
        try:
            async with asyncio.timeout(within_s), self._watched(connection, within_s):
                yield connection
        except EXPECTED_ERRORS as error:
            # A server that is gone without a word would keep us waiting for its farewell, too.
            if isinstance(error, TimeoutError):
                connection.terminate()
            raise explained(error, self.settings) from error
        finally:
            await self._give_back(connection)

    @asynccontextmanager
    async def _watched(self, connection: Connection, within_s: float | None) -> AsyncIterator[None]:
        """What may take any time is watched: an answer that will never come is not waited for."""
        watch = asyncio.create_task(self._watch(connection)) if within_s is None else None
        try:
            yield
        finally:
            if watch is not None:
                watch.cancel()

    async def _watch(self, connection: Connection) -> None:
        """End a connection whose server has nothing to do while we wait for it, or cannot be reached at all.

        A proxy may acknowledge what it passes on to nobody: neither we nor the system would ever know.
        """
        suspected, strikes = 0.0, 0
        while strikes < STRIKES:
            await asyncio.sleep(WATCH_S)
            since = waits_since(connection)
            if since is None or time.monotonic() - since < WATCH_S or await self._served(connection):
                strikes = 0
            else:
                strikes = strikes + 1 if since == suspected else 1
                suspected = since
                if waits_since(connection) != since:
                    strikes = 0
        connection.terminate()

    async def _served(self, connection: Connection) -> bool:
        """Whether the server works for a connection, as another one sees it, or nobody can tell."""
        try:
            async with self.connection(within_s=WATCH_S) as other:
                return await serves(other, connection.get_server_pid())
        except EmbedqError as error:  # where PostgreSQL itself has refused another one, nobody can tell
            return not isinstance(error.__cause__, OSError | TimeoutError)

    async def _give_back(self, connection: Connection) -> None:
        if self._pool is None:
            return
        try:
            await self._pool.release(connection, timeout=RELEASE_WITHIN_S)  # type: ignore[arg-type]
        except EXPECTED_ERRORS:
            connection.terminate()
