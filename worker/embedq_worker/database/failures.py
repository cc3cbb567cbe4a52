"""What a database does to a caller who did nothing wrong: told in an operator's words, or waited out."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar

import asyncpg

from embedq_worker.backoff import Backoff
from embedq_worker.errors import EmbedqError, SchemaError, Unreachable
from embedq_worker.settings import Settings
from embedq_worker.text import printable_line

T = TypeVar("T")

EXPECTED_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # also where a connection is cut between two steps of a query
    OSError,
    TimeoutError,
)
"""What a database does to a caller who did nothing wrong; `explained` puts each into words."""

_EXPLANATIONS: tuple[tuple[tuple[type[BaseException], ...], type[EmbedqError], str, str], ...] = (
    (
        (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError),
        Unreachable,
        "PostgreSQL at {place} refuses the login: {text}",
        "check user and password in DATABASE_URL, DB_* or PG*; pg_hba.conf may ask for TLS (DB_SSL)",
    ),
    (
        (asyncpg.ClientConfigurationError,),
        Unreachable,
        "the connection to {place} cannot be made as it is set: {text}",
        "DATABASE_URL, DB_SSL or PG* say how; docs/configuration.md",
    ),
    (
        (asyncpg.TargetServerAttributeNotMatched,),
        Unreachable,
        "no server at {place} is what target_session_attrs asks for",
        "is the primary up, and among the hosts of DATABASE_URL or PGHOST?",
    ),
    (
        (ssl.SSLError,),
        Unreachable,
        "TLS with {place} fails: {text}",
        "DB_SSL, or sslmode in DATABASE_URL, says what is checked, PGSSLROOTCERT who may sign",
    ),
    (
        (FileNotFoundError,),
        Unreachable,
        "PostgreSQL at {place} cannot be reached: {text}",
        "is it running? Is the folder of its socket right, and are sslrootcert, sslcert and sslkey there?",
    ),
    (
        (asyncpg.QueryCanceledError,),
        EmbedqError,
        "PostgreSQL at {place} broke a statement off: {text}",
        "a statement_timeout of role, database or URL is too short, or somebody ended it",
    ),
    (
        (asyncpg.InvalidCatalogNameError,),
        Unreachable,
        "{text} at {place}",
        "create the database, or name another one in DATABASE_URL",
    ),
    (
        (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError),
        SchemaError,
        "the schema of {place} is not up to date: {text}",
        "run: embedq-tui --migrate",
    ),
    (
        (asyncpg.InsufficientPrivilegeError,),
        EmbedqError,
        "the role lacks a right at {place}: {text}",
        "grant it (`embedq-tui migrate roles` makes roles to grant), or use the role that owns the tables",
    ),
    (
        (asyncpg.ReadOnlySQLTransactionError,),
        EmbedqError,
        "{place} is read-only (a replica, a server or role set so, DB_READ_ONLY, or a profile): {text}",
        "use the primary, or another profile",
    ),
    (
        (asyncpg.TooManyConnectionsError, asyncpg.CannotConnectNowError),
        Unreachable,
        "PostgreSQL at {place}: {text}",
        "try again in a moment",
    ),
    (
        (
            asyncpg.PostgresConnectionError,
            asyncpg.AdminShutdownError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
        ),
        Unreachable,
        "the connection to {place} was lost: {text}",
        "is PostgreSQL running?",
    ),
    (
        (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError),
        EmbedqError,
        "a pooler at {place} takes prepared statements apart (a transaction-pooling PgBouncer?)",
        "set DB_STATEMENT_CACHE=0, or give a direct connection",
    ),
    ((asyncpg.PostgresError,), EmbedqError, "PostgreSQL at {place}: {text}", ""),
    ((TimeoutError,), Unreachable, "PostgreSQL at {place} did not answer in time", "is it overloaded?"),
)


def explained(error: BaseException, settings: Settings) -> EmbedqError:
    """Put a failure of the database into one line that says what is wrong and one that says what to do.

    Args:
        error: One of `EXPECTED_ERRORS`.
        settings: Where the database is.
    """
    if isinstance(error, EmbedqError):
        return error
    place, text = settings.place, one_line(error)
    for types, kind, message, advice in _EXPLANATIONS:
        if isinstance(error, types):
            return kind(message.format(place=place, text=text), advice)
    where_it_is = "is it running? DATABASE_URL, DB_* or PG* say where it is"
    no_tls = "is it PostgreSQL, and with TLS? DB_SSL, or sslmode in DATABASE_URL, says whether it has to be"
    return Unreachable(
        f"PostgreSQL at {place} cannot be reached: {text}",
        no_tls if isinstance(error, ConnectionError) and "SSL upgrade" in text else where_it_is,
    )


def one_line(error: BaseException) -> str:
    """The text of an error on one line of at most 500 characters; its type where it has none."""
    return printable_line(str(error)[:2_000], 500) or type(error).__name__


_CONNECTION_ERRORS = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InterfaceError,
    OSError,
    TimeoutError,
)
_CONFLICTS = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.InternalClientError,
)
_CONFLICT_TRIES = 8


async def persist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call until the database answers it.

    While the database cannot be reached, or may only be read, it is repeated for ever, with growing delays,
    which the caller's cancellation ends. It may have taken effect although its answer was lost: it must bear
    being repeated.

    Args:
        call: Makes the call anew.

    Raises:
        asyncpg.PostgresError: An answer that repeating would not change, or a conflict that does not end.
    """
    backoff = Backoff(0.1, 5.0)
    for tries in count():
        try:
            return await call()
        except _CONNECTION_ERRORS as error:
            # asyncpg tells an argument that it cannot send as an InterfaceError that is a ValueError too.
            refused = isinstance(error, ValueError)
            if refused or (isinstance(error, asyncpg.QueryCanceledError) and tries >= _CONFLICT_TRIES):
                raise
        except _CONFLICTS:
            if tries >= _CONFLICT_TRIES:
                raise
        await asyncio.sleep(backoff.delay_s(tries))
    raise AssertionError("unreachable")
