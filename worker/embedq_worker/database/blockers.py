"""Which session keeps a statement of ours waiting for a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import asyncpg

from embedq_worker.text import printable_line

if TYPE_CHECKING:
    from embedq_worker.database.connections import Connection

ABOUT = """a.usename, a.application_name, a.state,
    extract(epoch FROM clock_timestamp() - a.xact_start)::float AS seconds,
    CASE WHEN a.state > '' THEN left(a.query, 500) END AS query"""
"""SQL: what `described` tells of a session `a` of pg_stat_activity. If it is hidden from our role, its state
is null, and its query is a message about that."""

# Of sessions that wait for one another, the one that does not wait for a lock itself.
_ROOT = f"""
    UNION SELECT unnest(pg_blocking_pids(w.pid)) FROM waits w
)
SELECT w.pid, {ABOUT}
FROM waits w LEFT JOIN pg_stat_activity a USING (pid)
WHERE pg_blocking_pids(w.pid) = '{{}}'
ORDER BY a.xact_start LIMIT 1
"""


class Blocker(NamedTuple):
    """A session that holds a lock for which others wait.

    Attributes:
        pid: Process ID of its server process; 0 for a prepared transaction.
        words: It, in one line.
    """

    pid: int
    words: str


OUT_OF_TIME = (TimeoutError, asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)
"""What ends a statement that waits for a lock: our patience, or a lock_timeout or statement_timeout."""


class Blocked(TimeoutError):
    """A statement got no answer in time because it was waiting for a lock.

    Args:
        blocker: The session that holds it.

    Attributes:
        blocker: The same.
    """

    def __init__(self, blocker: Blocker) -> None:
        super().__init__(f"a lock is held by {blocker.words}")
        self.blocker = blocker


_BLOCKER = f"WITH RECURSIVE waits AS (SELECT unnest(pg_blocking_pids($1)) AS pid {_ROOT}"

_HOLDER = f"""
WITH RECURSIVE waits AS (
    SELECT coalesce(l.pid, 0) AS pid FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.locktype = 'relation' AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.mode ~ '^(Share|ShareRowExclusive|Exclusive|AccessExclusive)Lock$'
      AND c.relname ~ '^(articles|embeddings|performance_metrics)$|^(embedding|embedq)_'
    {_ROOT}"""


async def blocker_of(connection: Connection, pid: int) -> Blocker | None:
    """Find the session for whose lock another one waits, directly or behind others.

    Args:
        connection: One that does not wait.
        pid: Process ID of the server process that may be waiting.

    Returns:
        None if it does not wait for a lock.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    row = await connection.fetchrow(_BLOCKER, pid, timeout=5.0)
    return Blocker(row["pid"], described(row)) if row is not None else None


async def holder_of_table(connection: Connection) -> Blocker | None:
    """Find the session that keeps others from writing to one of the tables, directly or behind others.

    Args:
        connection: One that does not wait.

    Returns:
        None if there is none at the moment.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    row = await connection.fetchrow(_HOLDER, timeout=5.0)
    return Blocker(row["pid"], described(row)) if row is not None else None


def described(row: asyncpg.Record) -> str:
    """A session in one line, as far as the role may see it.

    Args:
        row: Its pid (0 for a prepared transaction), and `ABOUT` it.
    """
    if row["pid"] == 0:
        return "a prepared transaction (pg_prepared_xacts)"
    # The state of another role's session is visible only to privileged roles.
    words = [row["usename"], row["application_name"], row["state"]]
    if row["seconds"] is not None:
        words.append(f"for {row['seconds']:.0f} s")
    if row["query"]:
        words.append(printable_line(row["query"], 100))
    known = ", ".join(word for word in words if word)
    return printable_line(f"session {row['pid']} ({known})" if known else f"session {row['pid']}")
