"""Which database this is, which role is connected, and whether an operator may act here."""

from __future__ import annotations

from collections.abc import Mapping
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
    "embedq_control": "SELECT INSERT UPDATE",
    "embedq_providers": "SELECT",
    "embedq_articles": "SELECT",
    "embedq_bulk_operations": "SELECT INSERT UPDATE",
    "embedq_live_counts": "SELECT",
    "embedq_failure_counts": "SELECT",
    "embedq_count_deltas": "SELECT",
}
"""Privileges on tables that an operator's actions need; `doctor` has those of a worker."""

CLEANER: Mapping[str, str] = dict.fromkeys(
    ("embedding_tasks", "embedding_audit_logs", "performance_metrics", "embedq_workers"), "DELETE"
)
"""Privileges on tables that a cleanup needs: a worker has all of them, an operator only some."""


class Access(NamedTuple):
    """Where we are connected, and what we may do.

    Attributes:
        server_version: As the server reports it, without the packager's suffix.
        user: The role whose privileges apply.
        is_replica: The server is a replica: no one can write here.
        read_only: Sessions are read-only by default.
        missing: Missing privileges that an operator's actions need, as ``table: PRIVILEGE, PRIVILEGE``.
        why_not: Why actions are not possible, in one line; empty if they are.
    """

    server_version: str
    user: str
    is_replica: bool
    read_only: bool
    missing: tuple[str, ...]
    why_not: str


async def access(connection: Connection) -> Access:
    """Find out which role is connected and what it may do.

    Args:
        connection: To the database, migrated or not; privileges on tables that do not exist are not missed.
    """
    row = await connection.fetchrow(
        """SELECT split_part(current_setting('server_version'), ' ', 1) AS server_version,
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
        remedy = await granting(connection, "embedq_operator")
        why_not = f"the role {row['user']} lacks privileges: {missing[0]}{more}. {remedy}"
    return Access(**facts, missing=missing, why_not=why_not)


_WHOSE = {
    "configuration file": "all sessions of this server",
    "command line": "all sessions of this server",
    "database": "sessions of this database",
    "user": "sessions of the role {}",
    "database user": "sessions of the role {} in this database",
}
"""Which sessions the setting applies to, by the source of its value."""


async def require_cleaner(connection: Connection) -> None:
    """Refuse a cleanup that would fail half-way.

    Args:
        connection: To the migrated database.

    Raises:
        EmbedqError: Our role lacks privileges that it needs.
    """
    lacking = await lacking_rights(connection, CLEANER, absent=True)
    if lacking:
        role = await connection.fetchval("SELECT current_user::text")
        raise EmbedqError(
            f"the role {role} lacks privileges: {'; '.join(lacking)}",
            f"{await granting(connection, 'embedq_worker')}, or use the role that owns the tables",
        )


async def granting(connection: Connection, group: str) -> str:
    """How our role gets the privileges of a group role that it lacks.

    Args:
        connection: To the migrated database.
        group: Name of the group role.
    """
    row = await connection.fetchrow(
        """SELECT current_user::text AS role,
                  EXISTS (SELECT FROM pg_roles
                          WHERE rolname = $1 AND pg_has_role(oid, 'USAGE')) AS granted""",
        group,
    )
    assert row is not None
    if row["granted"]:  # it lacks them itself: a migration has made new tables since
        return f"as the owner of the tables, grant {group} what is new: embedq-tui migrate roles"
    return f"GRANT {group} TO {row['role']} (`embedq-tui migrate roles` creates it)"


async def lacking_rights(connection: Connection, needs: Mapping[str, str], *, absent: bool) -> list[str]:
    """Which of these privileges on tables, and on any function of embedq, our role lacks.

    Where row-level security applies to it, a policy as well: without one, a table seems to be empty.

    Args:
        connection: To the database.
        needs: Privileges by table, separated by spaces.
        absent: Report tables that do not exist as well.

    Returns:
        Descriptions, one per table or function.
    """
    rows = await connection.fetch(_LACKING, list(needs), list(needs.values()), absent)
    return [row["lacking"] for row in rows]


_LACKING = """
SELECT n.tab || CASE WHEN to_regclass(n.tab) IS NULL THEN ' (which is missing): ' ELSE ': ' END
             || string_agg(p.privilege, ', ' ORDER BY p.privilege) AS lacking
FROM unnest($1::text[], $2::text[]) AS n(tab, privileges),
     unnest(string_to_array(n.privileges, ' ')) AS p(privilege)
WHERE NOT coalesce(has_table_privilege(to_regclass(n.tab), p.privilege), NOT $3::bool)
GROUP BY n.tab
UNION ALL
SELECT 'function ' || p.proname || ': EXECUTE' FROM pg_proc p
WHERE p.proname LIKE E'embedq\\\\_%' AND pg_function_is_visible(p.oid)
  AND NOT has_function_privilege(p.oid, 'EXECUTE')
UNION ALL
SELECT format('%s: a policy for %s (row-level security)',
              n.tab, string_agg(p.privilege, ', ' ORDER BY p.privilege))
FROM unnest($1::text[], $2::text[]) AS n(tab, privileges),
     unnest(string_to_array(n.privileges, ' ')) AS p(privilege)
WHERE row_security_active(to_regclass(n.tab)::oid) AND NOT EXISTS (
    SELECT FROM pg_policy l, unnest(l.polroles) AS r(role)
    WHERE l.polrelid = to_regclass(n.tab) AND l.polpermissive
      AND l.polcmd IN ('*', CASE p.privilege WHEN 'SELECT' THEN 'r' WHEN 'INSERT' THEN 'a'
                                             WHEN 'UPDATE' THEN 'w' WHEN 'DELETE' THEN 'd' END)
      AND CASE WHEN r.role = 0 THEN true ELSE pg_has_role(r.role, 'USAGE') END)
GROUP BY n.tab
"""
