"""The kept counts of tasks: compared with the table, and made right."""

from __future__ import annotations

from dataclasses import dataclass

from embedq_worker import operator_log
from embedq_worker.database import Connection

COUNTING_S = 3600.0
"""COUNT(*) over 10,000,000 tasks takes about a second; this is for tables beyond that, on slow disks."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A count that is not what COUNT(*) says, both of one snapshot."""

    status: str
    priority: str
    kept: int
    counted: int


async def count_drift(connection: Connection) -> list[Drift]:
    """Compare the kept counts with COUNT(*), in one statement.

    Args:
        connection: To the migrated database.
    """
    rows = await connection.fetch(_COMPARE, timeout=COUNTING_S)
    return [Drift(row["status"], row["priority"], row["kept"], row["counted"]) for row in rows]


async def repair_counts(connection: Connection, by: str) -> list[Drift]:
    """Make the kept counts equal to COUNT(*), while others go on writing; what was wrong is in the audit log.

    Args:
        connection: To the migrated database.
        by: Operator as ``user@host``.

    Returns:
        What was wrong.
    """
    async with connection.transaction():
        rows = await connection.fetch(
            "SELECT status, priority, kept, counted FROM embedq_repair_counts() ORDER BY status, priority",
            timeout=COUNTING_S,
        )
        drift = [Drift(row["status"], row["priority"], row["kept"], row["counted"]) for row in rows]
        if drift:
            off = sum(abs(each.kept - each.counted) for each in drift)
            await operator_log.note(connection, "counts repaired", by, count=off)
    return drift


_COMPARE = """
SELECT coalesce(k.status, c.status) AS status, coalesce(k.priority, c.priority) AS priority,
       coalesce(k.n, 0) AS kept, coalesce(c.n, 0) AS counted
FROM embedq_live_counts k
FULL JOIN (SELECT status::text, priority::text, count(*) AS n
           FROM embedding_tasks GROUP BY status, priority) AS c
     ON c.status = k.status AND c.priority = k.priority
WHERE coalesce(k.n, 0) <> coalesce(c.n, 0)
ORDER BY 1, 2
"""
