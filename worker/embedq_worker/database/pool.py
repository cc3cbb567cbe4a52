"""A pool that waits only briefly for a connection to be released."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncpg

from embedq_worker.database.failures import EXPECTED_ERRORS

if TYPE_CHECKING:
    _Pool = asyncpg.Pool[asyncpg.Record]
else:
    _Pool = asyncpg.Pool

RELEASE_WITHIN_S = 2.0
"""Seconds the server has to confirm that a statement was cancelled."""


class PatientPool(_Pool):
    """An asyncpg pool whose connections are released quickly or replaced.

    A cancelled statement ends when the server confirms it. A server that has silently gone away never does,
    and asyncpg would wait a minute for it, however little time its caller has left.
    """

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:
        """As in asyncpg, but within `RELEASE_WITHIN_S` by default.

        A connection that cannot be released is no error: asyncpg has terminated it and will open another.
        """
        with suppress(*EXPECTED_ERRORS):
            await super().release(connection, timeout=RELEASE_WITHIN_S if timeout is None else timeout)
