"""Wait until a session waits for a lock, so that a test continues at the right moment."""

from __future__ import annotations

import asyncio

from tests.support.databases import Connection

# The lock of a transaction is of no database, but its session has others. Not by pg_stat_activity, which
# stays the same for a whole transaction.
_ANY = """
SELECT EXISTS (SELECT FROM pg_locks w JOIN pg_locks o ON o.pid = w.pid
               WHERE NOT w.granted
               AND o.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


async def until_blocked(observer: Connection, waiting: Connection, *, within_s: float = 15.0) -> None:
    """Return as soon as a session waits for another one.

    Args:
        observer: Another session, idle.
        waiting: The session that is expected to wait.
        within_s: Seconds to give it.

    Raises:
        TimeoutError: It did not wait.
    """
    pid = waiting.get_server_pid()
    async with asyncio.timeout(within_s):
        while not await observer.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", pid):
            pass


async def until_any_blocked(observer: Connection, *, within_s: float = 15.0) -> None:
    """Return as soon as another session of this database waits for a lock.

    Args:
        observer: Another session, in a transaction or not.
        within_s: Seconds to give it.

    Raises:
        TimeoutError: None did.
    """
    async with asyncio.timeout(within_s):
        while not await observer.fetchval(_ANY):  # noqa: ASYNC110 - the condition is the server's
            await asyncio.sleep(0.01)
