"""The state of the schema: which migrations were applied, and whether this program can work with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from embedq_worker import __version__
from embedq_worker.database.connections import Connection
from embedq_worker.errors import MIGRATE, SchemaError
from embedq_worker.schema.check import Problem
from embedq_worker.schema.files import known_migrations, label_of


class MigrationState(NamedTuple):
    """One line of `embedq-tui migrate status`.

    Attributes:
        version: Its number.
        name: What it adds.
        state: ``changed``: applied from a file with different contents; ``unknown``: applied by a newer
            program.
        applied_at: When it was applied, by the database's clock.
        applied_by: Role that applied it.
        program: Version of embedq that applied it.
        seconds: How long that took.
    """

    version: int
    name: str
    state: Literal["applied", "pending", "changed", "unknown"]
    applied_at: datetime | None = None
    applied_by: str = ""
    program: str = ""
    seconds: float | None = None


async def status(connection: Connection) -> list[MigrationState]:
    """All versions known to this program or the database, in order.

    Raises:
        asyncpg.PostgresError: A query failed.
    """
    rows = {}
    if await connection.fetchval("SELECT to_regclass('embedq_migrations') IS NOT NULL"):
        found = await connection.fetch("SELECT * FROM embedq_migrations ORDER BY version")
        rows = {row["version"]: row for row in found}
    files = {migration.version: migration for migration in known_migrations()}
    states = []
    for version in sorted(rows.keys() | files.keys()):
        file, row = files.get(version), rows.get(version)
        if row is None:
            assert file is not None
            states.append(MigrationState(version, file.name, "pending"))
            continue
        matches = file is not None and file.checksum == row["checksum"]
        states.append(
            MigrationState(
                version,
                row["name"],
                "unknown" if file is None else "applied" if matches else "changed",
                row["applied_at"],
                row["applied_by"],
                row["program"],
                row["seconds"],
            )
        )
    return states


async def require_current(connection: Connection) -> None:
    """Make sure that the schema matches this program.

    Raises:
        SchemaError: It is older or newer; the error says what to do.
    """
    states = await status(connection)
    refuse_others([state for state in states if state.state == "unknown"])
    pending = [state for state in states if state.state == "pending"]
    if len(pending) == len(states) and (elsewhere := await in_other_schema(connection)):
        raise elsewhere
    if pending:
        first = label_of(pending[0].version, pending[0].name)
        behind = f"{len(pending)} of {len(states)} migrations are pending, the first is {first}"
        raise SchemaError(f"the schema is older than this program: {behind}", MIGRATE)


async def in_other_schema(connection: Connection) -> SchemaError | None:
    """Why our tables are missing, where another schema has them: search_path or rights may have changed.

    To migrate then would make a second, empty queue, of which no program knows.

    Args:
        connection: To a database in whose search_path they are missing.

    Returns:
        None if no other schema has them.

    Raises:
        asyncpg.PostgresError: A query failed.
    """
    row = await connection.fetchrow(
        """SELECT string_agg(quote_ident(n.nspname), ', ' ORDER BY n.nspname) AS schemas,
                  string_agg(quote_ident(n.nspname), ', ') FILTER (
                      WHERE NOT has_schema_privilege(n.oid, 'USAGE')
                        AND quote_ident(n.nspname) = ANY (regexp_split_to_array(
                                current_setting('search_path'), ' *, *'))) AS closed,
                  current_setting('search_path') AS path, quote_ident(current_user) AS role
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relname = 'embedq_migrations' AND c.relkind = 'r' AND NOT pg_table_is_visible(c.oid)"""
    )
    if row is None or row["schemas"] is None:
        return None
    if row["closed"]:
        return SchemaError(
            f"the role {row['role']} lacks USAGE on the schema {row['closed']}, which has embedq's tables",
            f"GRANT USAGE ON SCHEMA {row['closed']} TO {row['role']}, or run `embedq-tui migrate roles`",
        )
    return SchemaError(
        f"the tables of embedq are in the schema {row['schemas']}, but search_path is {row['path']}",
        "correct the search_path of the role or the database, or ?schema= in DATABASE_URL; "
        "a queue of its own needs: embedq-tui --migrate",
    )


def refuse_others(states: Sequence[MigrationState]) -> None:
    """Refuse a schema that another version of embedq has migrated.

    Args:
        states: Those to check; pending ones are accepted.

    Raises:
        SchemaError: One was applied by a newer program, or from a file with different contents.
    """
    for state in states:
        problem = problem_of(state)
        if problem and state.state != "pending":
            raise SchemaError(problem.message, problem.advice)


def problem_of(state: MigrationState) -> Problem | None:
    """What is wrong with a version; None if it is applied as this program would."""
    label = label_of(state.version, state.name)
    match state.state:
        case "pending":
            return Problem("pending", f"{label} is not applied", MIGRATE)
        case "unknown":
            return Problem(
                "newer_schema",
                f"{label} was applied by embedq {state.program}, which is newer than this {__version__}",
                f"install embedq {state.program}, or use it to roll back: "
                f"embedq-tui migrate rollback --to {state.version - 1}",
            )
        case "changed":
            return Problem(
                "changed",
                f"{label} was applied by embedq {state.program} from a file with different contents",
                f"install embedq {state.program}; or, if you know that the schema is right: {_accept(state)}",
            )
    return None


def _accept(state: MigrationState) -> str:
    checksum = next(file.checksum for file in known_migrations() if file.version == state.version)
    return f"UPDATE embedq_migrations SET checksum = '{checksum}' WHERE version = {state.version}"
