"""Apply migrations, report the state of the schema, verify it, and roll migrations back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from embedq_worker import __version__
from embedq_worker.database.connections import Connection
from embedq_worker.errors import SchemaError, UsageError
from embedq_worker.schema.check import Problem, missing_objects
from embedq_worker.schema.files import Migration, load_migrations, load_roles, runs_in_transaction
from embedq_worker.schema.public import names_taken, public_problems
from embedq_worker.schema.session import Patience, Report, SchemaSession, schema_session
from embedq_worker.settings import Settings

ROLES = ("embedq_viewer", "embedq_operator", "embedq_worker")
"""Group roles that `grant_roles` creates."""

_FIRST_OF_OURS = 3
"""001 and 002 create the public tables if absent; later migrations rely on their columns and keys."""

_MAKE_TABLE = """
CREATE TABLE embedq_migrations (
    version int PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by text NOT NULL DEFAULT session_user,
    program text NOT NULL,                -- version of embedq that applied it
    seconds double precision NOT NULL
)"""
_RECORD = """
INSERT INTO embedq_migrations (version, name, checksum, program, seconds)
VALUES ($1, $2, $3, $4, extract(epoch FROM clock_timestamp())::float - $5::float)"""
_ERASE = "DELETE FROM embedq_migrations WHERE version = $1"


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


async def up(
    settings: Settings,
    report: Report = lambda line: None,
    *,
    target: int | None = None,
    patience: Patience | None = None,
    applied_one: Callable[[int], None] = lambda version: None,
) -> list[int]:
    """Apply pending migrations in order. Safe to run concurrently, and again after it was killed.

    Args:
        settings: Where the database is, and the dimensions of vectors.
        report: Called with lines for the operator.
        target: Last version to apply; None for all.
        patience: How long to wait for locks.
        applied_one: Called with each version once it is applied.

    Returns:
        Versions applied by this call.

    Raises:
        SchemaError: The database was migrated by another version of embedq, lacks public columns or keys, or
            another session held a lock for too long.
        EmbedqError: The database cannot be reached, or a statement failed.
    """
    files = load_migrations()
    applied = []
    async with schema_session(settings, report, patience or Patience()) as session:
        if await session.connection.fetchval("SELECT to_regclass('embedq_migrations') IS NULL"):
            await session.connection.execute(_MAKE_TABLE)
        states = await status(session.connection)
        _refuse_others(states)
        pending = {state.version for state in states if state.state == "pending"}
        for migration in files:
            if migration.version in pending and (target is None or migration.version <= target):
                if migration.version == _FIRST_OF_OURS:
                    await _require_public_tables(session.connection)
                await _apply(session, migration, report)
                applied.append(migration.version)
                applied_one(migration.version)
    return applied


async def rollback(settings: Settings, to: int, report: Report = lambda line: None) -> list[int]:
    """Roll migrations back, the latest first.

    Args:
        settings: Where the database is.
        to: Last version to keep; 2 leaves the public tables alone, 1 drops the queue with its contents.
        report: Called with lines for the operator.

    Returns:
        Versions rolled back.

    Raises:
        UsageError: There is no such version.
        SchemaError: The database was migrated by another version of embedq, or the migration refuses.
        EmbedqError: The database cannot be reached, or a statement failed.
    """
    files = {migration.version: migration for migration in load_migrations()}
    if to != 0 and to not in files:
        raise UsageError(f"there is no version {to}", f"versions are 0 to {max(files)}")
    undone = []
    async with schema_session(settings, report, Patience()) as session:
        states = await status(session.connection)
        _refuse_others([state for state in states if state.state != "changed"])
        await _clear_unfinished(session, states, to)
        for state in reversed(states):
            if state.version > to and state.state != "pending":
                migration = files[state.version]
                await session.run(migration.label, migration.down, _ERASE, migration.version)
                report(f"{migration.label} rolled back")
                undone.append(migration.version)
        if to == 0 and undone:
            await session.connection.execute("DROP TABLE embedq_migrations")
    return undone


async def status(connection: Connection) -> list[MigrationState]:
    """All versions known to this program or the database, in order.

    Raises:
        asyncpg.PostgresError: A query failed.
    """
    rows = {}
    if await connection.fetchval("SELECT to_regclass('embedq_migrations') IS NOT NULL"):
        found = await connection.fetch("SELECT * FROM embedq_migrations ORDER BY version")
        rows = {row["version"]: row for row in found}
    files = {migration.version: migration for migration in load_migrations()}
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


async def verify(connection: Connection) -> list[Problem]:
    """Versions and objects that are not as `up` leaves them.

    Raises:
        asyncpg.PostgresError: A query failed.
    """
    states = await status(connection)
    problems = [problem for state in states if (problem := _problem_of(state))]
    applied = {state.version for state in states if state.state in ("applied", "changed")}
    files = [migration for migration in load_migrations() if migration.version in applied]
    problems += await public_problems(connection)
    problems += await missing_objects(connection, files)
    return problems


async def require_current(connection: Connection) -> None:
    """Make sure that the schema matches this program.

    Raises:
        SchemaError: It is older or newer; the error says what to do.
    """
    states = await status(connection)
    _refuse_others([state for state in states if state.state == "unknown"])
    pending = [state for state in states if state.state == "pending"]
    if pending:
        behind = f"{len(pending)} of {len(states)} migrations are pending, the first is {_label(pending[0])}"
        raise SchemaError(f"the schema is older than this program: {behind}", "run: embedq-tui --migrate")


async def grant_roles(settings: Settings, report: Report = lambda line: None) -> None:
    """Create the group roles of ``sql/roles.sql`` and grant them privileges on the existing objects.

    Args:
        settings: Where the database is. The role must own the tables and, unless the group roles exist, be
            allowed to create roles.
        report: Called with lines for the operator.

    Raises:
        SchemaError: The schema does not match this program.
        EmbedqError: The database cannot be reached, or a statement failed.
    """
    async with schema_session(settings, report, Patience()) as session:
        await require_current(session.connection)
        async with session.connection.transaction():
            await session.connection.execute(load_roles())


async def _apply(session: SchemaSession, migration: Migration, report: Report) -> None:
    began: float = await session.connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float")
    started = time.monotonic()
    await session.run(
        migration.label,
        migration.up,
        _RECORD,
        migration.version,
        migration.name,
        migration.checksum,
        __version__,
        began,
    )
    report(f"{migration.label} applied in {time.monotonic() - started:.1f} s")


async def _clear_unfinished(session: SchemaSession, states: Sequence[MigrationState], to: int) -> None:
    """Roll back the remains of a migration that was interrupted outside a transaction.

    They depend on the migrations before it.
    """
    following = next((state.version for state in states if state.state == "pending"), 0)
    for migration in load_migrations():
        if migration.version == following > to and not runs_in_transaction(migration.up):
            await session.run(migration.label, migration.down, _ERASE, migration.version)


async def _require_public_tables(connection: Connection) -> None:
    problems = await public_problems(connection)
    problems += await names_taken(connection, load_migrations()[_FIRST_OF_OURS - 1 :])
    if problems:
        raise SchemaError(
            "; ".join(problem.message for problem in problems),
            "; ".join(sorted({problem.advice for problem in problems})),
        )


def _refuse_others(states: Sequence[MigrationState]) -> None:
    for state in states:
        problem = _problem_of(state)
        if problem and state.state != "pending":
            raise SchemaError(problem.message, problem.advice)


def _problem_of(state: MigrationState) -> Problem | None:
    label = _label(state)
    match state.state:
        case "pending":
            return Problem("pending", f"{label} is not applied", "run: embedq-tui --migrate")
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
    checksum = next(file.checksum for file in load_migrations() if file.version == state.version)
    return f"UPDATE embedq_migrations SET checksum = '{checksum}' WHERE version = {state.version}"


def _label(state: MigrationState) -> str:
    return f"{state.version:03}_{state.name}"
