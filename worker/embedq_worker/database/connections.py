"""Open connections and pools: timeouts, application names and session settings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from embedq_worker.backoff import Backoff
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.codecs import register_times, register_vectors
from embedq_worker.database.dialling import dial
from embedq_worker.database.failures import EXPECTED_ERRORS, explained
from embedq_worker.database.line import Line
from embedq_worker.database.pool import PatientPool
from embedq_worker.waits import beside

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy


DirectConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 60.0

BLOCKED_S = 5.0
"""Seconds that a statement of a command waits before somebody looks for whom."""
FILTER_TIMEOUT_S = 600.0
"""For a statement by an operator's filter, which no index may serve: a text within a slug or an error."""
SCAN_TIMEOUT_S = 3600.0
"""For a statement that reads a whole table: COUNT(*) over 10,000,000 tasks takes about a second, over larger
tables on slow disks much longer."""

RECONNECT = Backoff(0.2, 15.0)
"""Delay between attempts to replace a connection that was lost."""


class _Abandoned(logging.Filter):
    """Drops asyncio's complaint about a connection that was abandoned while it was being opened.

    asyncpg leaves a future behind that nobody awaits, and Ctrl-C at that moment would print it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is about anything else."""
        return "unexpected connection_lost() call" not in record.getMessage()


logging.getLogger("asyncio").addFilter(_Abandoned())


@asynccontextmanager
async def connected(settings: Settings, application: str = "embedq-tui") -> AsyncIterator[DirectConnection]:
    """One connection for the duration of a command; failures in the block are translated by `explained`.

    Args:
        settings: Where the database is.
        application: Shown in pg_stat_activity.

    Raises:
        EmbedqError: The database cannot be reached, refuses the login or a statement, or lacks our tables.
    """
    try:
        connection = await connect(settings, application)
        try:
            async with beside(watch_blocker(connection, settings)):
                yield connection
        finally:
            await _close(connection)
    except EXPECTED_ERRORS as error:
        raise explained(error, settings) from error


async def watch_blocker(connection: DirectConnection, settings: Settings) -> None:
    """Keep looking for whose lock a connection waits, if it waits for long; ends by cancellation only.

    Args:
        connection: One of `connect`.
        settings: Where the database is.
    """
    assert isinstance(connection, Line)
    while True:
        await asyncio.sleep(BLOCKED_S)
        if connection.waits_since is not None and connection.waits_since < monotonic() - BLOCKED_S:
            with suppress(*EXPECTED_ERRORS):
                async with abandoned(settings, "embedq-watch") as other:
                    await connection.find_blocker(other)


@asynccontextmanager
async def abandoned(settings: Settings, application: str) -> AsyncIterator[DirectConnection]:
    """One connection for the block, at whose end it is dropped.

    Closing it properly would wait for a server that may be gone.

    Args:
        settings: Where the database is.
        application: Shown in pg_stat_activity.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `explained`.
    """
    connection = await connect(settings, application)
    try:
        yield connection
    finally:
        connection.terminate()


async def connect(settings: Settings, application: str = "embedq-tui") -> DirectConnection:
    """Open one connection; the caller closes it.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `explained`.
    """
    connection: DirectConnection = await dial(**_arguments(settings, application))
    await _prepare(connection, read_committed, register_times)
    return connection


async def _prepare(
    connection: DirectConnection, *registers: Callable[[DirectConnection], Awaitable[None]]
) -> None:
    """Set up a new connection, with a timeout of its own in case the server hangs."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            for register in registers:
                await register(connection)
    except BaseException:
        connection.terminate()
        raise


@asynccontextmanager
async def open_pool(
    settings: Settings,
    application: str,
    *,
    size: int,
    min_size: int = 1,
    opened: Callable[[DirectConnection], None] = lambda connection: None,
) -> AsyncIterator[PatientPool]:
    """Open a pool whose connections can send and receive vectors.

    Args:
        settings: Where the database is.
        application: Shown in pg_stat_activity.
        size: Maximum number of connections.
        min_size: Number of connections opened at the start.
        opened: Called with each new connection, to watch it.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `explained`.
    """

    async def prepare(connection: DirectConnection) -> None:
        opened(connection)
        if isinstance(connection, Line):
            connection.ends_read_only = not settings.db_read_only
        await _prepare(connection, read_committed, register_times, register_vectors, _know_replica)

    pool = PatientPool(
        **_arguments(settings, application),
        min_size=min_size,
        max_size=size,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        init=prepare,
        connect=dial,
        reset=_skip_reset,
        loop=asyncio.get_running_loop(),
        record_class=asyncpg.Record,
    )
    try:
        await pool
        yield pool
    finally:
        try:
            async with asyncio.timeout(5.0):
                await pool.close()
        except EXPECTED_ERRORS:
            pool.terminate()


async def _skip_reset(connection: Connection) -> None:
    """Skip asyncpg's RESET on release: nothing here changes a session beyond a transaction.

    The reset would cost every statement another round trip before its caller gets the result. asyncpg still
    rolls back a transaction that was left open.
    """


async def serves(connection: Connection, pid: int, *, on_replica: bool = False) -> bool:
    """Whether the server process of another connection of ours is working; True if unknown.

    Args:
        connection: One that is known to work.
        pid: Process ID of the other one; an unknown one may have been made up by a pooler.
        on_replica: That one is on a replica, whose processes a primary does not know.
    """
    # A process that is "active" may also be waiting for the rest of a message. One that does not exist has
    # ended, or is on a server that a failover has replaced; unless a pooler makes up IDs, also that of this
    # connection, or this one has come to a former primary, and the other works on the new one.
    waits: bool | None = await connection.fetchval(
        """SELECT coalesce(
               (SELECT state IN ('idle', 'idle in transaction') OR wait_event = 'ClientRead'
                FROM pg_stat_activity WHERE pid = $1 AND usename = current_user),
               $2 = pg_backend_pid() AND current_setting('transaction_read_only') = 'off'
               AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1))""",
        pid,
        None if on_replica else connection.get_server_pid(),
        timeout=5.0,
    )
    return not waits


async def read_committed(connection: Connection) -> None:
    """Make READ COMMITTED the default of a session: claims and completions must see concurrent commits.

    Does nothing if it already is; a database or a role may have another default. It is not sent as a startup
    parameter because PgBouncer refuses those it does not know.
    """
    await connection.execute(
        """SELECT set_config('default_transaction_isolation', 'read committed', false)
           WHERE current_setting('default_transaction_isolation') <> 'read committed'"""
    )


async def _know_replica(connection: Connection) -> None:
    """Find out whether the server of a connection is a replica, unless it said so itself."""
    if isinstance(connection, Line) and connection.on_replica is None:
        connection.on_replica = await connection.fetchval("SELECT pg_is_in_recovery()")


def _arguments(settings: Settings, application: str) -> dict[str, Any]:
    arguments = settings.connect_arguments()
    server_settings = {"application_name": application, **arguments.pop("server_settings", {})}
    if settings.db_read_only:
        server_settings["default_transaction_read_only"] = "on"
    return {
        "connection_class": Line,
        "timeout": CONNECT_TIMEOUT_S,
        "command_timeout": COMMAND_TIMEOUT_S,
        **arguments,
        "server_settings": server_settings,
    }


async def _close(connection: DirectConnection) -> None:
    try:
        await connection.close(timeout=2.0)
    except EXPECTED_ERRORS:
        connection.terminate()
