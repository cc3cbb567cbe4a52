"""A connection that notices when its peer has gone away."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from asyncio import Transport
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import asyncpg
from asyncpg.transaction import Transaction

from embedq_worker.database.blockers import OUT_OF_TIME, Blocked, Blocker, blocker_of

if TYPE_CHECKING:
    from embedq_worker.database.connections import Connection

    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

UNHEARD_S = 10
"""Seconds that sent data may stay unacknowledged before the connection breaks (TCP_USER_TIMEOUT)."""

QUIET_S, PROBE_S, PROBES = 10, 3, 3
"""TCP keepalive: seconds of silence before the first probe, seconds between probes, failed probes allowed."""

_TCP = (socket.AF_INET, socket.AF_INET6)
_MOVED = slice(120, 136)
"""Position in `struct tcp_info` of tcpi_bytes_acked and tcpi_bytes_received."""

Isolation = Literal["read_committed", "read_uncommitted", "serializable", "repeatable_read"]

ROLLBACK_WITHIN_S = 5.0
"""Seconds the server has to confirm a ROLLBACK."""


class Line(_Connection):
    """An asyncpg connection that knows since when it has been waiting for an answer.

    A network that drops all packets is detected by the kernel within seconds. A proxy that acknowledges
    packets without forwarding them is not; `LineWatch` finds it by comparing `waits_since` with the state of
    the server process.

    Attributes:
        pid: Process ID of its server process, known also when it is closed.
        on_replica: Its server was a replica when it was opened; None if it did not say, as before version 14.
        waits_since: Time of `time.monotonic`; None while no statement runs.
        blocker: For whose lock the statement that runs, or ran out of time, was found waiting.
        ends_read_only: Close the connection when a write is refused as read-only. A new one may be able to
            write: a session stays read-only if it began before the database was made writable, or if its
            server has been demoted by a failover.
    """

    def __init__(self, protocol: Any, transport: Transport, *more: Any, **named: Any) -> None:
        super().__init__(protocol, transport, *more, **named)
        self.pid: int = protocol.get_server_pid()
        said = getattr(protocol.get_settings(), "in_hot_standby", None)
        self.on_replica = None if said is None else said == "on"
        self.waits_since: float | None = None
        self.blocker: Blocker | None = None
        self.ends_read_only = False
        self._socket: socket.socket | None = transport.get_extra_info("socket")
        _keep_awake(self._socket)

    @property
    def moved(self) -> bytes:
        """How much was sent and received so far, as the kernel counts it; always the same if it does not say.

        On a slow network an answer arrives long after the server has sent it and is idle.
        """
        if self._socket is None or self._socket.family not in _TCP or sys.platform != "linux":
            return b""
        with suppress(OSError):
            return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MOVED.stop)[_MOVED]
        return b""

    async def find_blocker(self, other: Connection) -> None:
        """Find out whether the running statement waits for a lock, and whose: `blocker`.

        Args:
            other: A connection that does not wait.

        Raises:
            asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
        """
        since = self.waits_since
        found = await blocker_of(other, self.pid)
        if self.waits_since == since:
            self.blocker = found

    @contextmanager
    def _asking(self) -> Iterator[None]:
        self.waits_since, self.blocker = time.monotonic(), None
        try:
            yield
            self.blocker = None
        except OUT_OF_TIME as error:
            if self.blocker:
                raise Blocked(self.blocker) from error
            raise
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
        """As in asyncpg, except for its end, see `_Transaction`."""
        if self.is_closed():
            raise asyncpg.InterfaceError("connection is closed")
        return _Transaction(self, isolation, readonly, deferrable)

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """As in asyncpg."""
        with self._asking():
            return await super().execute(query, *args, timeout=timeout)

    async def fetch(self, query: str, *args: Any, **named: Any) -> Any:
        """As in asyncpg."""
        with self._asking():
            return await super().fetch(query, *args, **named)

    async def fetchrow(self, query: str, *args: Any, **named: Any) -> Any:
        """As in asyncpg."""
        with self._asking():
            return await super().fetchrow(query, *args, **named)

    async def fetchval(self, query: str, *args: Any, **named: Any) -> Any:
        """As in asyncpg."""
        with self._asking():
            return await super().fetchval(query, *args, **named)


@asynccontextmanager
async def within(connection: Connection, seconds: float | None) -> AsyncIterator[None]:
    """Limit the time of the block, which uses a connection.

    Args:
        connection: Perhaps one of a pool.
        seconds: None for no limit.

    Raises:
        Blocked: It was not done in time because the connection was waiting for a lock.
        TimeoutError: It was not done in time for another reason.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        blocker: Blocker | None = getattr(connection, "blocker", None)
        if blocker is not None and not isinstance(error, Blocked):
            raise Blocked(blocker) from error
        raise


class _Transaction(Transaction):
    """A transaction whose block raises its own exception, even if the ROLLBACK fails.

    asyncpg would wait a minute for the ROLLBACK and raise its failure instead. If that replaced a
    cancellation, callers would take it for a failure of the block and retry for ever, because nobody cancels
    twice.
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
            self._line.terminate()  # without a COMMIT, the server rolls back


def _keep_awake(found: socket.socket | None) -> None:
    """Enable TCP keepalive, so that the kernel notices a lost peer; not for sockets other than TCP."""
    if found is None or found.family not in _TCP:
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, QUIET_S)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_S)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNHEARD_S * 1_000)
