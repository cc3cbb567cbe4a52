"""The privileges that workers and operators need, by table, and which of them a role lacks.

sql/roles.sql grants them, and to read every table, to group roles.
"""

from __future__ import annotations

from collections.abc import Mapping

from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError

WORKER: Mapping[str, str] = {
    "articles": "SELECT",
    "embeddings": "SELECT INSERT UPDATE DELETE",
    "embedding_tasks": "SELECT INSERT UPDATE DELETE",
    "embedding_worker_status": "SELECT INSERT UPDATE",
    "embedding_audit_logs": "SELECT INSERT UPDATE DELETE",
    "performance_metrics": "SELECT INSERT UPDATE DELETE",
    "embedq_workers": "SELECT INSERT UPDATE DELETE",
    "embedq_control": "SELECT INSERT UPDATE",
    "embedq_providers": "SELECT INSERT UPDATE",
    "embedq_articles": "SELECT INSERT UPDATE DELETE",
    "embedq_live_counts": "SELECT",
}
"""What a worker needs."""

STORING = {
    name: WORKER[name] for name in ("articles", "embeddings", "embedq_articles", "performance_metrics")
} | {"embedding_tasks": "SELECT UPDATE", "embedq_workers": "SELECT INSERT UPDATE"}
"""What of that completing a task needs."""

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
"""What an operator's actions need."""

CLEANER: Mapping[str, str] = dict.fromkeys(
    ("embedding_tasks", "embedding_audit_logs", "performance_metrics", "embedq_workers"), "DELETE"
)
"""What a cleanup needs: a worker has all of it, an operator only some."""


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


async def lacking_of_worker(connection: Connection, needs: Mapping[str, str]) -> list[str]:
    """Which privileges of a worker our role lacks: `lacking_rights`, and those that are not on tables.

    Args:
        connection: To the database.
        needs: Privileges by table, separated by spaces.

    Returns:
        Descriptions, one per table, function or sequence.
    """
    finer = await connection.fetch(_FINER)
    return await lacking_rights(connection, needs, absent=True) + [row["lacking"] for row in finer]


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

# A row lock (FOR NO KEY UPDATE) requires UPDATE on at least one column.
_FINER = """
SELECT 'articles: UPDATE (of a column, to lock rows)' AS lacking
WHERE NOT has_any_column_privilege(to_regclass('articles'), 'UPDATE')
UNION ALL
SELECT s.name || ': USAGE'
FROM (SELECT CASE WHEN to_regclass('embeddings') IS NOT NULL
                  THEN pg_get_serial_sequence('embeddings', 'id') END) AS s(name)
WHERE NOT has_sequence_privilege(s.name, 'USAGE')
"""
