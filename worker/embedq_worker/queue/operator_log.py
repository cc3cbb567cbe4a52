"""What operators did that is neither to tasks nor to workers, for the audit log."""

from __future__ import annotations

import json

from embedq_worker.database.connections import Connection


def operator_and_host(by: str) -> tuple[str, str]:
    """Operator and host of ``user@host``; no host where there is no ``@``."""
    operator, at, host = by.rpartition("@")
    return (operator, host) if at else (by, "")


async def note(
    connection: Connection, what: str, by: str, *, category: str = "queue_operations", **facts: object
) -> None:
    """Enter into the audit log what an operator does.

    Args:
        connection: To the migrated database.
        what: It in words: ``cleanup``.
        by: Operator as ``user@host``.
        category: Of the row.
        facts: What else there is to know, as JSON takes it.
    """
    operator, host = operator_and_host(by)
    await connection.execute(
        """INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata)
           VALUES (embedq_uuid(), clock_timestamp(), 'info', $1, 'Operator: ' || $2::text, $3)""",
        category,
        what,
        json.dumps({"operator": operator, "host": host, **facts}),
    )
