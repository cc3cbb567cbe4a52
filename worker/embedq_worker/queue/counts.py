"""The maintained counts of tasks: compared with the table, and repaired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from embedq_worker.database.connections import SCAN_TIMEOUT_S, Connection
from embedq_worker.queue import operator_log


@dataclass(frozen=True, slots=True)
class Drift:
    """A maintained count that differs from COUNT(*) in the same snapshot.

    Attributes:
        group: Fingerprint, if it counts the failed tasks of a group, whatever their priority; empty if it
            counts all tasks of a status and priority.
    """

    status: str
    priority: str
    group: str
    kept: int
    counted: int

    @property
    def what(self) -> str:
        """Which tasks it counts."""
        return f"{self.status or '?'} {f'group {self.group}' if self.group else self.priority or '?'}"

    @property
    def line(self) -> str:
        """What is wrong, in one line."""
        return f"{self.what}: kept {self.kept:,}, counted {self.counted:,}"


def miscounted(drift: Sequence[Drift]) -> int:
    """How many tasks are counted wrongly, at least.

    A failed task is in two counts, that of its status and that of its group; a task whose status was changed
    without the counts is missing from one count and surplus in another.
    """
    sums: Counter[tuple[bool, bool]] = Counter()
    for each in drift:
        excess = each.kept - each.counted
        sums[bool(each.group), excess > 0] += abs(excess)
    return max(sums.values(), default=0)


async def count_drift(connection: Connection) -> list[Drift]:
    """Compare the maintained counts with COUNT(*), in one statement.

    Args:
        connection: To the migrated database.
    """
    rows = await connection.fetch(_COMPARE, timeout=SCAN_TIMEOUT_S)
    return [_drift(row) for row in rows]


async def repair_counts(connection: Connection, by: str) -> list[Drift]:
    """Set the maintained counts to COUNT(*) without blocking writers, and note it in the audit log.

    Args:
        connection: To the migrated database.
        by: Operator as ``user@host``.

    Returns:
        What was wrong.
    """
    async with connection.transaction():
        rows = await connection.fetch(_REPAIR, timeout=SCAN_TIMEOUT_S)
        drift = [_drift(row) for row in rows]
        if drift:
            await operator_log.note(connection, "counts repaired", by, count=miscounted(drift))
    return drift


def _drift(row: asyncpg.Record) -> Drift:
    priority, group = row["priority"] or "", row["fingerprint"] or ""
    return Drift("failed" if group else row["status"], priority, group, row["kept"], row["counted"])


_COMPARE = """
SELECT status, priority, fingerprint, kept, counted FROM embedq_count_drift
ORDER BY fingerprint NULLS FIRST, status, priority
"""

_REPAIR = """
SELECT status, priority, fingerprint, kept, counted FROM embedq_repair_counts()
ORDER BY fingerprint NULLS FIRST, status, priority
"""
