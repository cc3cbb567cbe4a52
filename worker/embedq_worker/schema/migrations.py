"""Apply migrations, verify what they made, and roll them back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import asyncpg

from embedq_worker import __version__
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.database.failures import one_line
from embedq_worker.errors import MIGRATE, EmbedqError, SchemaError, UsageError
from embedq_worker.schema.check import (
    REPEATABLE,
    Problem,
    foremost,
    idle_objects,
    lost_versions,
    missing_objects,
)
from embedq_worker.schema.files import Migration, load_migrations, load_roles, runs_in_transaction
from embedq_worker.schema.public import PUBLIC_COLUMNS, absent_tables, names_taken, public_problems
from embedq_worker.schema.session import Patience, Report, SchemaSession, schema_session
from embedq_worker.schema.state import MigrationState, problem_of, refuse_others, require_current, status

ROLES = ("embedq_viewer", "embedq_operator", "embedq_worker")
"""Group roles that `grant_roles` creates."""

_ARTICLES, _QUEUE, _FIRST_OF_OURS = 1, 2, 3
"""001 and 002 create the public tables if absent; later migrations rely on their columns and keys."""

_ARTICLE_TABLES = ("articles", "embeddings")

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
VALUES ($1, $2, $3, $4, extract(epoch FROM clock_timestamp())::float - $5::float)
ON CONFLICT (version) DO NOTHING"""
_ERASE = "DELETE FROM embedq_migrations WHERE version = $1"


async def up(
    settings: Settings,
    report: Report = lambda line: None,
    *,
    target: int | None = None,
    patience: Patience | None = None,
    applied_one: Callable[[int], None] = lambda version: None,
) -> list[int]:
    """Apply pending migrations in order. Safe to run concurrently, and again after it was killed.

    Public tables, and columns and indexes on them, that were dropped since are made again.

    Args:
        settings: Where the database is, and the dimensions of vectors.
        report: Called with lines for the operator.
        target: Last version to apply; None for all.
        patience: How long to wait for locks.
        applied_one: Called with each version once it is applied.

    Returns:
        Versions applied by this call.

    Raises:
        SchemaError: The database was migrated by another version of embedq, lacks public columns or keys or
            what applied migrations created, or another session held a lock for too long.
        EmbedqError: The database cannot be reached, or a statement failed.
    """
    files = load_migrations()
    applied = []
    async with schema_session(settings, report, patience or Patience()) as session:
        if await session.connection.fetchval("SELECT to_regclass('embedq_migrations') IS NULL"):
            await session.connection.execute(_MAKE_TABLE)
        states = await status(session.connection)
        refuse_others(states)
        if await _is_unrecorded(session.connection, states):
            raise SchemaError(
                "embedq's tables are there, but embedq_migrations does not have the rows that say so",
                "restore them (pg_dump --data-only -t embedq_migrations), or start over: "
                f"embedq-tui migrate rollback --to {_FIRST_OF_OURS - 1}, then embedq-tui --migrate",
            )
        pending = {state.version for state in states if state.state == "pending"}
        again = await _to_repeat(session.connection, states)
        if _FIRST_OF_OURS in pending:
            await _require_suitable_tables(session.connection)
        for migration in files:
            if migration.version in pending | again and (target is None or migration.version <= target):
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
        refuse_others([state for state in states if state.state != "changed"])
        await _clear_unfinished(session, states, to)
        unrecorded = await _is_unrecorded(session.connection, states)
        for state in reversed(states):
            made = state.state != "pending" or (unrecorded and state.version >= _FIRST_OF_OURS)
            if state.version > to and made:
                migration = files[state.version]
                await session.run(migration.label, migration.down, _ERASE, migration.version)
                report(f"{migration.label} rolled back")
                undone.append(migration.version)
        if to == 0 and undone:
            await session.connection.execute("DROP TABLE embedq_migrations")
    return undone


async def to_apply(connection: Connection) -> list[MigrationState]:
    """All versions, as `status` lists them, but those that `up` would apply again are pending.

    Raises:
        SchemaError: Objects are missing that `up` cannot put back.
        asyncpg.PostgresError: A query failed.
    """
    states = await status(connection)
    again = await _to_repeat(connection, states)
    return [state._replace(state="pending") if state.version in again else state for state in states]


async def verify(connection: Connection) -> list[Problem]:
    """Versions and objects that are not as `up` leaves them.

    Raises:
        asyncpg.PostgresError: A query failed.
    """
    states = await status(connection)
    problems = [problem for state in states if (problem := problem_of(state))]
    problems += await public_problems(connection)
    problems += await missing_objects(connection, _applied(states))
    problems += await idle_objects(connection, PUBLIC_COLUMNS)
    return problems


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
        try:
            async with session.connection.transaction():
                await session.connection.execute(load_roles())
        except asyncpg.InsufficientPrivilegeError as error:
            raise EmbedqError(
                f"this login may not create roles, or not grant rights on the tables: {one_line(error)}",
                "use a superuser; or the owner of the tables, with CREATEROLE unless the roles exist",
            ) from error


async def _apply(session: SchemaSession, migration: Migration, report: Report) -> None:
    began: float = await session.connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float")
    started = time.monotonic()
    await session.run(
        migration.label,
        migration.up,
        _RECORD,
        migration.version,
        migration.name,
        migration.id.checksum,
        __version__,
        began,
    )
    report(f"{migration.label} applied in {time.monotonic() - started:.1f} s")


def _applied(states: Sequence[MigrationState]) -> set[int]:
    return {state.version for state in states if state.state in ("applied", "changed")}


async def _to_repeat(connection: Connection, states: Sequence[MigrationState]) -> set[int]:
    """Applied versions whose objects are missing and that put them back when they are applied again."""
    applied = _applied(states)
    lost = await lost_versions(connection, applied)
    if not lost <= REPEATABLE:
        problem = foremost(await missing_objects(connection, applied))
        raise SchemaError(problem.message, problem.advice)
    lost |= {_ARTICLES if table in _ARTICLE_TABLES else _QUEUE for table in await absent_tables(connection)}
    return lost & applied


async def _is_unrecorded(connection: Connection, states: Sequence[MigrationState]) -> bool:
    """Whether embedq's objects came without the record of their migrations (pg_dump --schema-only)."""
    first = next(state for state in states if state.version == _FIRST_OF_OURS)
    there: bool = await connection.fetchval("SELECT to_regclass('embedq_control') IS NOT NULL")
    return there and first.state == "pending"


async def _clear_unfinished(session: SchemaSession, states: Sequence[MigrationState], to: int) -> None:
    """Roll back the remains of a migration that was interrupted outside a transaction.

    They depend on the migrations before it.
    """
    following = next((state.version for state in states if state.state == "pending"), 0)
    for migration in load_migrations():
        if migration.version == following > to and not runs_in_transaction(migration.up):
            await session.run(migration.label, migration.down, _ERASE, migration.version)


async def _require_suitable_tables(connection: Connection) -> None:
    """Refuse unsuitable tables of the operator; those that are missing are still to be made."""
    problems = [problem for problem in await public_problems(connection) if problem.advice != MIGRATE]
    problems += await names_taken(connection, load_migrations()[_FIRST_OF_OURS - 1 :])
    if problems:
        raise SchemaError(
            "; ".join(problem.message for problem in problems),
            "; ".join(sorted({problem.advice for problem in problems})),
        )
