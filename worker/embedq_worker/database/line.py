"""A connection that notices when nobody is at its other end any more."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from asyncio import Transport
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import asyncpg
from asyncpg.transaction import Transaction

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

UNHEARD_S = 10
"""Seconds after which what was sent and not acknowledged breaks a connection."""

QUIET_S, PROBE_S, PROBES = 10, 3, 3
"""Seconds of silence before the other end is probed, between two probes, and how many fail."""

Isolation = Literal["read_committed", "read_uncommitted", "serializable", "repeatable_read"]

ROLLBACK_WITHIN_S = 5.0
"""Seconds in which a server has to confirm that a transaction was given up."""


class Line(_Connection):
    """A connection of asyncpg that knows since when it waits for an answer.

    A network that swallows everything is told by the system within seconds; a proxy that acknowledges and
    passes nothing on is not: for that, whoever cares compares `waits_since` with what the server says.

    Attributes:
        waits_since: Of the clock `time.monotonic`; None while nothing is asked.
        ends_read_only: It ends when it is told that it may not write, for a new one may: a session that began
            while the database was read-only stays so, and one of a server that has handed over to another.
    """

    def __init__(self, protocol: Any, transport: Transport, *more: Any, **named: Any) -> None:
        super().__init__(protocol, transport, *more, **named)
        self.waits_since: float | None = None
        self.ends_read_only = False
        _keep_awake(transport.get_extra_info("socket"))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        self.waits_since = time.monotonic()
        try:
            yield
        except asyncpg.ReadOnlySQLTransactionError:
            if self.ends_read_only:
                self.terminate()
            raise
        finally:
            self.waits_since = None

    def transaction(
        self,
        *,
        isolation: Isolation | None = None,
        readonly: bool = False,
        deferrable: bool = False,
    ) -> Transaction:
        """As asyncpg has it; how it ends tells `_Transaction`."""
        if self.is_closed():
            raise asyncpg.InterfaceError("connection is closed")
        return _Transaction(self, isolation, readonly, deferrable)

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """As asyncpg has it."""
        with self._asking():
            return await super().execute(query, *args, timeout=timeout)

    async def fetch(self, query: str, *args: Any, **named: Any) -> Any:
        """As asyncpg has it."""
        with self._asking():
            return await super().fetch(query, *args, **named)

    async def fetchrow(self, query: str, *args: Any, **named: Any) -> Any:
        """As asyncpg has it."""
        with self._asking():
            return await super().fetchrow(query, *args, **named)

    async def fetchval(self, query: str, *args: Any, **named: Any) -> Any:
        """As asyncpg has it."""
        with self._asking():
            return await super().fetchval(query, *args, **named)


class _Transaction(Transaction):
    """A transaction whose block ends as it was left, whatever becomes of the ROLLBACK.

    asyncpg tells what went wrong with that instead, and waits for it for a minute. In the place of a
    cancellation it would be taken for a failure of the block, which is begun again: for ever, as nobody
    cancels twice.
    """

    def __init__(self, line: Line, isolation: Isolation | None, readonly: bool, deferrable: bool) -> None:
        super().__init__(line, isolation, readonly, deferrable)
        self._line = line

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            await super().__aexit__(kind, error, trace)
            return
        try:
            async with asyncio.timeout(ROLLBACK_WITHIN_S):
                await super().__aexit__(kind, error, trace)
        except Exception:
            self._line.terminate()  # nothing is committed by a server that hears no more of it


def _keep_awake(found: socket.socket | None) -> None:
    """Let the system notice an end that is gone; what it does not know of is left as it is."""
    if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, QUIET_S)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_S)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNHEARD_S * 1_000)
