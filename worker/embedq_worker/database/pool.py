"""A pool that waits a moment for a connection that comes back, and not for ever."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    _Pool = asyncpg.Pool[asyncpg.Record]
else:
    _Pool = asyncpg.Pool

RELEASE_WITHIN_S = 2.0
"""Seconds in which a server has to confirm that a statement was given up."""


class PatientPool(_Pool):
    """A pool of asyncpg whose connections come back within a moment, or are replaced.

    A cancelled statement is over when the server says so. One that is gone in silence never does: then
    asyncpg would wait for a minute, whatever time its caller had left.
    """

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:
        """As asyncpg has it, within `RELEASE_WITHIN_S` unless told otherwise.

        That a connection cannot be given back is no error: asyncpg has terminated it, and makes another.
        """
        with suppress(
            asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError
        ):
            await super().release(connection, timeout=RELEASE_WITHIN_S if timeout is None else timeout)
