"""A connection that one user keeps: the server's process that answers it is warm, and has its plans."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from embedq_worker.database.connections import Pool

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    _Connection: TypeAlias = PoolConnectionProxy[asyncpg.Record]


class KeptConnection:
    """Asks one statement after the other through one connection of a pool, and takes another when it is lost.

    A pool hands out whichever connection is free: one that has not asked this for a while, of a process that
    has been swapped out of the processor's caches, or has to plan first. And it takes a tenth of a
    millisecond each time.

    Args:
        pool: Short of one connection from the first statement on.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._connection: _Connection | None = None

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """As a pool does it.

        Raises:
            One of `failures.EXPECTED_ERRORS`.
        """
        connection = await self._taken()
        try:
            return await connection.fetch(query, *arguments)
        except BaseException:
            await self.give_back()  # what is left of it; the pool knows what to do with that
            raise

    async def give_back(self) -> None:
        """Let the pool have it, until the next statement."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.release(connection)

    async def _taken(self) -> _Connection:
        if self._connection is None or _lost(self._connection):
            await self.give_back()
            self._connection = await self._pool.acquire()
        return self._connection


@asynccontextmanager
async def kept_connection(pool: Pool) -> AsyncIterator[KeptConnection]:
    """For as long as the block lasts."""
    kept = KeptConnection(pool)
    try:
        yield kept
    finally:
        await kept.give_back()


def _lost(connection: _Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True  # its end was noticed, and the pool has it already
