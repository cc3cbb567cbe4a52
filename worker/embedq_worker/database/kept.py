"""A connection reserved for one caller, so that its server process stays warm and keeps its plans."""

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
    """Runs all its statements on one connection of a pool, and takes another one if that is lost.

    A pool hands out any free connection; its server process may have cold caches or have to plan the
    statement first. Acquiring one also takes a tenth of a millisecond each time.

    Args:
        pool: It lends one connection from the first statement on.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._connection: _Connection | None = None

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Like `Pool.fetch`.

        Raises:
            One of `failures.EXPECTED_ERRORS`.
        """
        connection = await self._taken()
        try:
            return await connection.fetch(query, *arguments)
        except BaseException:
            await self.give_back()  # the pool replaces the connection if it is broken
            raise

    async def give_back(self) -> None:
        """Return the connection to the pool until the next statement."""
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
    """Keep a connection for the duration of the block."""
    kept = KeptConnection(pool)
    try:
        yield kept
    finally:
        await kept.give_back()


def _lost(connection: _Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True  # the pool has noticed its end and taken it back
