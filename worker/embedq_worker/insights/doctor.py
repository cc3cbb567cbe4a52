"""Whether a worker could work with this database: schema, privileges, vectors, notifications."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection, DirectConnection, connected
from embedq_worker.database.listener import probe_listen
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.rights import STORING, WORKER, granting, lacking_of_worker
from embedq_worker.schema import migrations
from embedq_worker.schema.check import foremost
from embedq_worker.schema.state import require_current
from embedq_worker.schema.storage import VectorStorage, inspect_storage

OLDEST_SERVER = 12
"""Oldest supported major version of PostgreSQL."""


class Verdict(StrEnum):
    """Result of a check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(NamedTuple):
    """One check.

    Attributes:
        name: For scripts: settings, server, schema, rights, vectors, listen, provider.
        message: What was found, in one line.
        advice: What to do about it; empty if there is nothing to do.
    """

    name: str
    verdict: Verdict
    message: str
    advice: str = ""


async def examine(connection: DirectConnection, settings: Settings) -> AsyncIterator[Check]:
    """Check everything a worker needs of the database.

    Args:
        connection: One of its own, not in a transaction.
        settings: Settings the worker would run with.

    Yields:
        Each check when it is done.
    """
    server = await _server(connection)
    yield server
    schema = await _schema(connection)
    yield schema
    if schema.verdict is not Verdict.FAIL:
        yield await _rights(connection)
        yield await _vectors(connection, settings)
    if server.verdict is not Verdict.FAIL:  # a replica refuses LISTEN
        yield await _listen(connection, settings)


async def _server(connection: DirectConnection) -> Check:
    row = await connection.fetchrow(
        """SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS replica,
                  current_setting('transaction_read_only') = 'on' AS read_only,
                  (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS pgvector"""
    )
    assert row is not None
    found = f"PostgreSQL {row['version'].split()[0]}, " + (
        f"pgvector {row['pgvector']}" if row["pgvector"] else "without pgvector"
    )
    if row["replica"]:
        return Check("server", Verdict.FAIL, f"{found}, a replica", "connect to the primary")
    if row["read_only"]:
        by = "DB_READ_ONLY, a profile, the URL, or default_transaction_read_only of role, database or server"
        return Check("server", Verdict.FAIL, f"{found}, its sessions are read-only", f"turn that off: {by}")
    if connection.get_server_version().major < OLDEST_SERVER:
        return Check("server", Verdict.FAIL, found, f"PostgreSQL {OLDEST_SERVER} or newer is required")
    return Check("server", Verdict.OK, found)


async def _schema(connection: Connection) -> Check:
    try:
        await require_current(connection)
    except EmbedqError as error:
        return Check("schema", Verdict.FAIL, error.message, error.advice)
    problems = await migrations.verify(connection)
    if problems:
        problem = foremost(problems)
        return Check("schema", Verdict.WARN, problem.message, problem.advice)
    return Check("schema", Verdict.OK, "the schema is up to date")


async def require_ground(connection: Connection) -> VectorStorage:
    """Require everything without which the database would refuse every completion.

    Args:
        connection: To the database, as the role of a worker.

    Returns:
        How the database stores vectors.

    Raises:
        EmbedqError: Says what is missing, and what to do about it.
    """
    await require_current(connection)
    rights = await _rights(connection, STORING)
    if rights.verdict is Verdict.FAIL:
        raise EmbedqError(rights.message, rights.advice)
    return await inspect_storage(connection)


async def _rights(connection: Connection, needs: Mapping[str, str] = WORKER) -> Check:
    lacking = await lacking_of_worker(connection, needs)
    role = await connection.fetchval("SELECT current_user")
    if lacking:
        remedy = await granting(connection, "embedq_worker")
        more = f" and {len(lacking) - 4} more" if len(lacking) > 4 else ""
        return Check(
            "rights",
            Verdict.FAIL,
            f"the role {role} lacks privileges: {'; '.join(lacking[:4])}{more}",
            f"{remedy}, or let the worker use the role that owns the tables",
        )
    return Check("rights", Verdict.OK, f"the role {role} has the privileges a worker needs")


async def _vectors(connection: Connection, settings: Settings) -> Check:
    try:
        storage = await inspect_storage(connection)
        storage.require(settings.dimensions)
    except EmbedqError as error:
        return Check("vectors", Verdict.FAIL, error.message, error.advice)
    if storage.schema is None:
        return Check(
            "vectors",
            Verdict.OK,
            f"vectors of {settings.dimensions} dimensions are stored as jsonb; search compares each of them",
        )
    declared = "vector" if storage.dimensions == -1 else f"vector({storage.dimensions})"
    return Check(
        "vectors", Verdict.OK, f"embeddings.vector is {declared}, EMBEDDING_DIMENSIONS {settings.dimensions}"
    )


async def _listen(connection: DirectConnection, settings: Settings) -> Check:
    async with connected(settings) as sender:
        heard = await probe_listen(connection, sender)
    if heard:
        return Check("listen", Verdict.OK, "LISTEN works: new tasks wake a worker within milliseconds")
    return Check(
        "listen",
        Verdict.WARN,
        "LISTEN does not work over this connection (PgBouncer in transaction mode?): workers poll",
        "connect workers and console directly, or accept that workers poll every EMBEDDING_WORKER_INTERVAL",
    )
