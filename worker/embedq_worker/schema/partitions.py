"""Indexes on partitioned tables, which PostgreSQL cannot create or drop CONCURRENTLY as a whole.

First an index is built on each partition. Creating the index on the parent then attaches them, which takes
only a moment; partitions created later get theirs automatically.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from embedq_worker.database.connections import Connection

_CREATES = re.compile(
    r"CREATE\s+INDEX\s+CONCURRENTLY\s+IF\s+NOT\s+EXISTS\s+(?P<index>\w+)\s+ON\s+(?P<table>\w+)(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_DROPS = re.compile(r"DROP\s+INDEX\s+CONCURRENTLY\s+IF\s+EXISTS\s+(?P<index>\w+)", re.IGNORECASE)

_PARTITIONS = """
SELECT format('%I.%I', n.nspname, c.relname) AS name, quote_ident(n.nspname) AS schema, c.oid
FROM pg_class r CROSS JOIN pg_partition_tree(r.oid) p
JOIN pg_class c ON c.oid = p.relid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.oid = to_regclass($1) AND r.relkind = 'p' AND p.isleaf AND c.relkind = 'r' ORDER BY c.oid"""
_IS_PARTITIONED = (
    "SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass($1) AND relkind = ANY ('{p,I}'))"
)
_LEFT = """
SELECT format('%I.%I', n.nspname, c.relname) AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.relkind = 'i' AND NOT c.relispartition AND c.relname ~ ('^' || $1 || E'_[0-9]+$')
  AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indrelid)"""


class Step(NamedTuple):
    """A statement of a file whose statements run one by one.

    Attributes:
        statement: SQL.
        builds: Name of the index it builds CONCURRENTLY, qualified if needed; empty for other statements.
        concurrently: It blocks no reader or writer, and PostgreSQL does not allow it in a transaction.
    """

    statement: str
    builds: str
    concurrently: bool


async def steps_of(connection: Connection, statement: str) -> list[Step]:
    """Steps that carry out a statement: the statement itself, except for an index on a partitioned table.

    Args:
        connection: To the database.
        statement: One that creates or drops an index CONCURRENTLY, or any other.
    """
    if creates := _CREATES.search(statement):
        return await _building(connection, statement, creates)
    if drops := _DROPS.search(statement):
        return await _dropping(connection, statement, drops["index"])
    return [Step(statement, "", concurrently=True)]


async def _building(connection: Connection, statement: str, creates: re.Match[str]) -> list[Step]:
    index, table, rest = creates["index"], creates["table"], creates["rest"]
    if not await connection.fetchval(_IS_PARTITIONED, table):
        return [Step(statement, index, concurrently=True)]
    steps = []
    for part in await connection.fetch(_PARTITIONS, table):
        name = f"{index}_{part['oid']}"
        build = f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {part['name']}{rest}"
        steps.append(Step(build, f"{part['schema']}.{name}", concurrently=True))
    return [*steps, Step(f"CREATE INDEX IF NOT EXISTS {index} ON {table}{rest}", "", concurrently=False)]


async def _dropping(connection: Connection, statement: str, index: str) -> list[Step]:
    whole = await connection.fetchval(_IS_PARTITIONED, index)
    steps = [Step(f"DROP INDEX IF EXISTS {index}" if whole else statement, "", concurrently=not whole)]
    for left in await connection.fetch(_LEFT, index):
        steps.append(Step(f"DROP INDEX CONCURRENTLY IF EXISTS {left['name']}", "", concurrently=True))
    return steps
