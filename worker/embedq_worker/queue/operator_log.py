"""Operators in the audit log: who they are, and rows for actions other than those on tasks and workers."""

from __future__ import annotations

import json

from embedq_worker.database.connections import Connection


async def note(
    connection: Connection, what: str, by: str, *, category: str = "queue_operations", **facts: object
) -> None:
    """Write an operator's action to the audit log.

    Args:
        connection: To the migrated database.
        what: The action in words: ``cleanup``.
        by: Operator as ``user@host``.
        category: Category of the row.
        facts: Further facts, as JSON values.
    """
    await connection.execute(
        """INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, metadata)
           VALUES (embedq_uuid(), clock_timestamp(), 'info', $1, 'Operator: ' || $2::text,
                   embedq_signature($3) || $4::jsonb)""",
        category,
        what,
        by,
        json.dumps(facts),
    )


def by_whom(operator: str, host: str) -> str:
    """An operator as ``user@host``, or without the host if that is not known.

    Args:
        operator: As ``embedq_signature`` took it from that.
        host: The same.
    """
    return f"{operator}@{host}" if operator and host else operator
