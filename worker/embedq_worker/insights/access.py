"""Which database this is, as whom we look at it, and whether an operator may act here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError

OPERATOR: Mapping[str, str] = {
    "articles": "SELECT",
    "embeddings": "SELECT",
    "embedding_tasks": "SELECT INSERT UPDATE DELETE",
    "embedding_worker_status": "SELECT INSERT UPDATE",
    "embedding_audit_logs": "SELECT INSERT",
    "performance_metrics": "SELECT",
    "embedq_workers": "SELECT UPDATE",
    "embedq_control": "SELECT UPDATE",
    "embedq_providers": "SELECT",
    "embedq_articles": "SELECT",
    "embedq_bulk_operations": "SELECT INSERT UPDATE",
    "embedq_live_counts": "SELECT",
    "embedq_failure_counts": "SELECT",
    "embedq_count_deltas": "SELECT",
}
"""Rights on tables that an operator's actions need; `doctor` knows what a worker needs."""

CLEANER: Mapping[str, str] = dict.fromkeys(
    ("embedding_tasks", "embedding_audit_logs", "performance_metrics", "embedq_workers"), "DELETE"
)
"""Rights on tables that deleting what is old needs: a worker has them, an operator only some."""


class Access(NamedTuple):
    """Where we are, and what we may do.

    Attributes:
        at: The database's time.
        database: Its name, by its own word.
        server_version: As the server says it, without what its packager adds.
        user: The role whose rights count.
        is_replica: It follows another server: nobody can write here.
        read_only: Sessions begin read-only.
        missing: Rights that an operator's actions need and that are lacking, as ``table: RIGHT, RIGHT``.
        may_write: Actions can be done here.
        why_not: Why they cannot, one line; empty where they can.
    """

    at: datetime
    database: str
    server_version: str
    user: str
    is_replica: bool
    read_only: bool
    missing: tuple[str, ...]
    may_write: bool
    why_not: str


async def access(connection: Connection) -> Access:
    """Ask who we are and what we may do.

    Args:
        connection: To the database, migrated or not: what is not there yet lacks no rights.
    """
    row = await connection.fetchrow(
        """SELECT clock_timestamp() AS at, current_database()::text AS database,
                  split_part(current_setting('server_version'), ' ', 1) AS server_version,
                  current_user::text AS user, pg_is_in_recovery() AS is_replica,
                  s.setting = 'on' AS read_only, s.source
           FROM pg_settings s WHERE s.name = 'default_transaction_read_only'"""
    )
    assert row is not None
    facts = dict(row)
    whose = _WHOSE.get(facts.pop("source"), "these sessions")
    missing = tuple(await lacking_rights(connection, OPERATOR, absent=False))
    why_not = ""
    if row["is_replica"]:
        why_not = "this server is a replica"
    elif row["read_only"]:
        why_not = f"{whose.format(row['user'])} are read-only (default_transaction_read_only)"
    elif missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        why_not = (
            f"the role {row['user']} lacks rights: {missing[0]}{more}. "
            f"GRANT embedq_operator TO {row['user']} (`embedq-tui migrate roles` makes it)"
        )
    return Access(**facts, missing=missing, may_write=not why_not, why_not=why_not)


_WHOSE = {
    "configuration file": "all sessions of this server",
    "command line": "all sessions of this server",
    "database": "sessions of this database",
    "user": "sessions of the role {}",
    "database user": "sessions of the role {} in this database",
}
"""Whom the setting is for, by where its value comes from."""


async def require_rights(connection: Connection, needs: Mapping[str, str], group: str) -> None:
    """Refuse what would be broken off half-way.

    Args:
        connection: To the migrated database.
        needs: By table, the rights, with a space between.
        group: The role of `migrate roles` that has them.

    Raises:
        EmbedqError: Our role lacks some.
    """
    lacking = await lacking_rights(connection, needs, absent=True)
    if lacking:
        role = await connection.fetchval("SELECT current_user::text")
        raise EmbedqError(
            f"the role {role} lacks rights: {'; '.join(lacking)}",
            f"GRANT {group} TO {role} (`embedq-tui migrate roles` makes it), "
            "or use the role that owns the tables",
        )


async def lacking_rights(connection: Connection, needs: Mapping[str, str], *, absent: bool) -> list[str]:
    """Which rights on tables, and on any function of ours, our role lacks.

    Args:
        connection: To the database.
        needs: By table, the rights, with a space between.
        absent: A table that is not there counts as one without rights.

    Returns:
        Words, one entry per table or function.
    """
    rows = await connection.fetch(_LACKING, list(needs), list(needs.values()), absent)
    return [row["lacking"] for row in rows]


_LACKING = """
SELECT n.tab || ': ' || string_agg(p.privilege, ', ' ORDER BY p.privilege) AS lacking
FROM unnest($1::text[], $2::text[]) AS n(tab, privileges),
     unnest(string_to_array(n.privileges, ' ')) AS p(privilege)
WHERE NOT coalesce(has_table_privilege(to_regclass(n.tab), p.privilege), NOT $3::bool)
GROUP BY n.tab
UNION ALL
SELECT 'function ' || p.proname || ': EXECUTE' FROM pg_proc p
WHERE p.proname LIKE E'embedq\\\\_%' AND pg_function_is_visible(p.oid)
  AND NOT has_function_privilege(p.oid, 'EXECUTE')
"""
