"""Which database this is, which role is connected, and whether an operator may act here."""

from __future__ import annotations

from typing import NamedTuple

from embedq_worker.database.connections import Connection
from embedq_worker.insights.rights import OPERATOR, granting, lacking_rights


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


SHARED = {
    "configuration file": "all sessions of this server",
    "command line": "all sessions of this server",
    "global": "all sessions of this server",
    "database": "sessions of this database",
}
"""Which sessions a setting applies to, by the source of its value: those of every role."""

_WHOSE = SHARED | {
    "user": "sessions of the role {}",
    "database user": "sessions of the role {} in this database",
}
