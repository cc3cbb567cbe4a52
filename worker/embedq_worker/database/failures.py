"""Database failures that are not bugs: explained to the operator, or retried until they pass."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from time import monotonic
from typing import TypeVar

import asyncpg

from embedq_worker.backoff import Backoff
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.blockers import Blocked
from embedq_worker.errors import MIGRATE, EmbedqError, HeldUp, SchemaError, Unreachable
from embedq_worker.process.scarcity import scarce
from embedq_worker.text import printable_line

T = TypeVar("T")

EXPECTED_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # also raised if a connection breaks between two steps of a query
    OSError,
    TimeoutError,
)
"""Database failures that are not bugs of the caller; `explained` describes each of them."""

UNDEFINED = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)
"""Something of the schema is not there."""

_TIMEOUTS: Mapping[type[BaseException], str] = {
    asyncpg.IdleSessionTimeoutError: "idle_session_timeout",
    asyncpg.IdleInTransactionSessionTimeoutError: "idle_in_transaction_session_timeout",
    asyncpg.TransactionTimeoutError: "transaction_timeout",
}
"""Settings of the server that make it end sessions."""

_SHUTDOWN = asyncpg.AdminShutdownError, asyncpg.CrashShutdownError

_ENDING: tuple[type[BaseException], ...] = (*_TIMEOUTS, *_SHUTDOWN, asyncpg.ProtocolViolationError)
"""What server or pooler say when they end a session, and why."""

_EXPLANATIONS: tuple[tuple[tuple[type[BaseException], ...], type[EmbedqError], str, str], ...] = (
    (
        (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError),
        Unreachable,
        "PostgreSQL at {place} refuses the login: {text}",
        "check user and password in DATABASE_URL, DB_* or PG*; pg_hba.conf may require TLS (DB_SSL)",
    ),
    (
        (asyncpg.ClientConfigurationError,),
        Unreachable,
        "the settings for the connection to {place} are not valid: {text}",
        "check DATABASE_URL, DB_SSL and PG*; see docs/configuration.md",
    ),
    (
        (asyncpg.TargetServerAttributeNotMatched,),
        Unreachable,
        "no server at {place} matches target_session_attrs",
        "is the primary running, and is it among the hosts in DATABASE_URL or PGHOST?",
    ),
    (
        (ssl.SSLError,),
        Unreachable,
        "the TLS connection to {place} failed: {text}",
        "DB_SSL, or sslmode in DATABASE_URL, sets what is verified; PGSSLROOTCERT names the trusted CA",
    ),
    (
        (FileNotFoundError,),
        Unreachable,
        "PostgreSQL at {place} cannot be reached: {text}",
        "is it running? Is the socket directory right? Do sslrootcert, sslcert and sslkey exist?",
    ),
    (
        (asyncpg.QueryCanceledError,),
        EmbedqError,
        "PostgreSQL at {place} cancelled a statement: {text}",
        "raise the statement_timeout of the role, the database or the URL, unless someone cancelled it",
    ),
    (
        (asyncpg.InvalidCatalogNameError,),
        Unreachable,
        "{text} at {place}",
        "create the database, or correct its name in DATABASE_URL",
    ),
    (
        UNDEFINED,
        SchemaError,
        "the schema of {place} is not up to date: {text}",
        MIGRATE,
    ),
    (
        (asyncpg.InsufficientPrivilegeError,),
        EmbedqError,
        "the role lacks a privilege at {place}: {text}",
        "grant it (`embedq-tui migrate roles`, after each migration), or use the role that owns the tables",
    ),
    (
        (asyncpg.ReadOnlySQLTransactionError,),
        EmbedqError,
        "{place} is read-only (a replica, a server or role set so, DB_READ_ONLY, or a profile): {text}",
        "connect to the primary (of several hosts: target_session_attrs=read-write), or use another profile",
    ),
    (
        (asyncpg.DiskFullError,),
        EmbedqError,
        "PostgreSQL at {place}: {text}",
        "free space on its disk, or enlarge it; workers go on by themselves",
    ),
    (
        (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError),
        EmbedqError,
        "PostgreSQL at {place}: {text}",
        "another session holds a lock (pg_stat_activity shows it); try again",
    ),
    (
        (asyncpg.SerializationError,),  # not from our own transactions: they are read committed
        Unreachable,
        "PostgreSQL at {place}: {text}",
        "try again, or ask the primary; a replica with hot_standby_feedback = on cancels less",
    ),
    (
        (asyncpg.TooManyConnectionsError,),
        Unreachable,
        "PostgreSQL at {place}: {text}",
        "end sessions nobody needs (a superuser still gets in: pg_stat_activity), or raise max_connections "
        "or the CONNECTION LIMIT of role or database",
    ),
    (
        (
            asyncpg.CannotConnectNowError,
            asyncpg.ObjectNotInPrerequisiteStateError,  # also of a database that takes no connections
        ),
        Unreachable,
        "PostgreSQL at {place}: {text}",
        "try again in a moment",
    ),
    (
        (asyncpg.ProtocolViolationError,),  # the code of all that PgBouncer says itself
        Unreachable,
        "the pooler at {place} refuses: {text}",
        "its log and SHOW POOLS tell why: no connection is free (query_wait_timeout, max_client_conn), it is "
        "paused, or PostgreSQL behind it is down",
    ),
    (
        _SHUTDOWN,
        Unreachable,
        "PostgreSQL at {place} ended the session: {text}",
        "it was shut down, or an administrator ended the session; try again",
    ),
    (
        (asyncpg.PostgresConnectionError, asyncpg.InterfaceError),
        Unreachable,
        "the connection to {place} was lost: {text}",
        "is PostgreSQL running?",
    ),
    (
        (asyncpg.InternalClientError,),  # its text is about the state of the driver
        Unreachable,
        "the connection to {place} was lost between two steps of a statement",
        "is PostgreSQL running?",
    ),
    (
        (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError),
        EmbedqError,
        "a pooler at {place} does not support prepared statements (PgBouncer in transaction mode?)",
        "set DB_STATEMENT_CACHE=0, or connect to PostgreSQL directly",
    ),
    ((asyncpg.PostgresError,), EmbedqError, "PostgreSQL at {place}: {text}", ""),
    (
        (TimeoutError,),
        Unreachable,
        "PostgreSQL at {place} did not answer in time",
        "are host and port right? Is a firewall in between, or the server overloaded?",
    ),
)


def explained(error: BaseException, settings: Settings) -> EmbedqError:
    """Describe a database failure in one line that says what is wrong and one that says what to do.

    Args:
        error: One of `EXPECTED_ERRORS`.
        settings: Where the database is.
    """
    if isinstance(error, EmbedqError):
        return error
    cause = error.__cause__
    if cause is not None and isinstance(cause, _ENDING):  # to asyncpg, a lost connection
        error = cause
    place, text = settings.place, one_line(error)
    if timeout := _TIMEOUTS.get(type(error)):
        return Unreachable(
            f"PostgreSQL at {place} ended the session: {text}",
            f"raise the {timeout} of the role, the database or the URL",
        )
    if isinstance(error, Blocked):
        pid = error.blocker.pid
        end_it = f", or end it: SELECT pg_terminate_backend({pid})" if pid else ""
        return HeldUp(
            f"{text}: PostgreSQL at {place} did not answer in time", f"try again when it is done{end_it}"
        )
    if isinstance(error, asyncpg.ProtocolViolationError) and "startup parameter" in text:
        return Unreachable(
            f"the pooler at {place} refuses: {text}",
            "connect to PostgreSQL directly, or without it (DB_READ_ONLY sends one, and the URL may)",
        )
    for types, kind, message, advice in _EXPLANATIONS:
        if isinstance(error, types):
            return kind(message.format(place=place, text=text), advice)
    where_it_is = (
        "is it running? Check the host and port in DATABASE_URL, DB_* or PG*"
        if settings.names_database
        else "no database is named: set DATABASE_URL, DB_* or PG*; or see it work: embedq-tui demo"
    )
    if limit := scarce(error):
        where_it_is = limit.advice
    no_tls = (
        "is it PostgreSQL, with TLS enabled? DB_SSL, or sslmode in DATABASE_URL, sets whether TLS is required"
    )
    return Unreachable(
        f"PostgreSQL at {place} cannot be reached: {text}",
        no_tls if isinstance(error, ConnectionError) and "SSL upgrade" in text else where_it_is,
    )


_OF_THE_DRIVER = (
    (asyncpg.TargetServerAttributeNotMatched, "no server matches target_session_attrs"),
    (asyncpg.InternalClientError, "the connection was lost between two steps of a statement"),
    (TimeoutError, "no answer in time"),
)
"""Errors whose text, if any, is about the driver, and what they mean."""


def one_line(error: BaseException) -> str:
    """The text of an error on one line of about 500 characters at most; its type if it has no text."""
    for kind, meaning in _OF_THE_DRIVER:
        if isinstance(error, kind) and not isinstance(error, Blocked):
            return meaning
    text = printable_line(str(error)[:2_000], 500) or type(error).__name__
    # PostgreSQL says so behind the name of a file, where a narrow line is cut.
    return f"disk full: {text}" if isinstance(error, asyncpg.DiskFullError) else text


_SICK = (
    asyncpg.PostgresConnectionError,
    asyncpg.TargetServerAttributeNotMatched,  # the primary is down, and no replica is promoted yet
    asyncpg.InvalidCatalogNameError,  # the database was renamed, or is being restored
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # also a database that takes no connections
    asyncpg.OperatorInterventionError,  # also a statement_timeout
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,  # the disk cannot be read or written
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.InterfaceError,
    OSError,
    TimeoutError,
)
_OF_THE_DATA = (
    asyncpg.DataError,  # class 22: a value that the database cannot hold, or asyncpg cannot encode
    asyncpg.IntegrityConstraintViolationError,  # class 23
    asyncpg.WithCheckOptionViolationError,  # class 44
    asyncpg.ProgramLimitExceededError,  # class 54: too large, such as for an index
    asyncpg.PLPGSQLError,  # class P0: a trigger does not want it
)
_OF_THE_TABLE = (
    asyncpg.NotNullViolationError,  # of a column that embedq does not know, and its program fills
    asyncpg.SequenceGeneratorLimitExceededError,  # ids of embeddings are integers; each save takes some
    asyncpg.NumericValueOutOfRangeError,  # of a sequence that is larger than its column
)
"""Of class 22 or 23, but no text is the cause."""
_OTHER_TABLES = ("embedding_", "embedq_", "performance_metrics")
"""What the names of tables begin with, perhaps of partitions, that hold nothing of a text."""
_GIVE_IDS = frozenset({"GetNewTransactionId", "GetNewMultiXactId"})
"""Functions of the server that raise an error of class 54: it takes no writes, lest its ids wrap around."""
_CONFLICTS = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InternalClientError,
)
_CONFLICT_TRIES = 8

PERSISTING = Backoff(0.1, 5.0)
"""Delay between tries of what the database refuses, whatever is to be written."""


def is_sick(error: BaseException) -> bool:
    """Whether the database is at fault rather than the call, so that `persist` would retry it for ever."""
    if isinstance(error, asyncpg.ProgramLimitExceededError):
        return error.server_source_function in _GIVE_IDS  # the text is in the server's language
    # Settings of a connection that asyncpg cannot use raise an InterfaceError that is also a ValueError.
    return isinstance(error, _SICK) and not isinstance(error, ValueError)


def is_of_the_data(error: BaseException) -> bool:
    """Whether an error may be the fault of what was to be stored.

    Any other is of the server, its schema, its settings or its other sessions, and would meet another text
    too: no task is to be charged for it.
    """
    return isinstance(error, _OF_THE_DATA) and not (
        isinstance(error, _OF_THE_TABLE) or is_sick(error) or _has_taken_id(error) or _is_elsewhere(error)
    )


def _has_taken_id(error: BaseException) -> bool:
    """Whether a sequence gave an id that exists: it is behind its table, which was filled without it."""
    # The name of the key is the operator's; the detail is in the server's language except for the column.
    return isinstance(error, asyncpg.UniqueViolationError) and "(id)=(" in str(error.detail)


def _is_elsewhere(error: BaseException) -> bool:
    """Whether a constraint was violated of a table that holds nothing of a text, such as the audit log."""
    return isinstance(error, asyncpg.IntegrityConstraintViolationError) and str(error.table_name).startswith(
        _OTHER_TABLES
    )


async def persist(
    call: Callable[[], Awaitable[T]],
    on_failure: Callable[[Exception], None] = lambda error: None,
    *,
    within_s: float = inf,
) -> T:
    """Retry a call until the database answers it.

    While the database is unreachable, read-only, locked, out of disk or other resources, or cancels the
    statement, the call is retried for ever with backoff; cancel the caller to end that. A conflict is retried
    a few times. A call may have taken effect although its answer was lost, so it must be idempotent.

    Args:
        call: Makes the call; called once per attempt.
        on_failure: Called with each failure that is followed by another attempt.
        within_s: Seconds after which a failure that would be retried for ever is raised.

    Raises:
        asyncpg.PostgresError: An error that a retry would not change, or a conflict that does not end.
        One of `EXPECTED_ERRORS`: Not within that time.
    """
    began, tries, conflicts = monotonic(), 0, 0
    while True:
        try:
            return await call()
        except EXPECTED_ERRORS as error:
            # A sick database may refuse a call for hours; that does not count as a conflict.
            sick = is_sick(error)
            conflicts += not sick
            late = monotonic() - began > within_s if sick else conflicts > _CONFLICT_TRIES
            if late or not (sick or isinstance(error, _CONFLICTS)):
                raise
            on_failure(error)
        await asyncio.sleep(PERSISTING.delay_s(tries))
        tries += 1
