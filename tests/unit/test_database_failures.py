"""How failures of the database are explained."""

from __future__ import annotations

import asyncpg
import pytest

from embedq_worker.backoff import Backoff
from embedq_worker.configuration.loading import load_settings
from embedq_worker.database.failures import explained, is_of_the_data, is_sick, one_line, persist
from embedq_worker.errors import Unreachable


def test_the_inner_state_of_the_driver_is_kept_from_the_operator() -> None:
    error = asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
    told = explained(error, load_settings())
    assert isinstance(told, Unreachable)
    assert "state 12" not in f"{told} {one_line(error)}"


def test_a_replica_that_cancels_a_statement_did_not_answer() -> None:
    """Exit code 1 of `health` would mean that the queue is not served."""
    error = asyncpg.SerializationError("canceling statement due to conflict with recovery")
    told = explained(error, load_settings())
    assert isinstance(told, Unreachable)
    assert told.advice


def test_who_has_named_no_database_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "DB_HOST", "DB_PORT", "DB_NAME", "PGHOST", "PGPORT", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)
    unnamed = explained(ConnectionRefusedError(111, "refused"), load_settings())
    monkeypatch.setenv("DB_HOST", "db")
    named = explained(ConnectionRefusedError(111, "refused"), load_settings())
    assert unnamed.advice != named.advice


def test_a_full_disk_is_told_before_the_name_of_the_file_that_does_not_fit() -> None:
    error = asyncpg.DiskFullError('could not extend file "base/16384/16761": No space left on device')
    told = explained(error, load_settings())
    assert told.message.index("disk") < told.message.index("16761")
    assert told.advice


@pytest.mark.parametrize(
    ("ended", "setting"),
    [
        (asyncpg.TransactionTimeoutError, " transaction_timeout"),
        (asyncpg.IdleSessionTimeoutError, " idle_session_timeout"),
        (asyncpg.IdleInTransactionSessionTimeoutError, " idle_in_transaction_session_timeout"),
    ],
)
def test_a_timeout_of_the_server_is_no_reason_to_ask_whether_it_runs(
    ended: type[Exception], setting: str
) -> None:
    error = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
    error.__cause__ = ended("terminating connection")
    for raised in (error, error.__cause__):
        told = explained(raised, load_settings())
        assert isinstance(told, Unreachable)
        assert setting in told.advice


def test_a_session_that_an_administrator_ended_is_told_as_such() -> None:
    lost = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
    broken = explained(lost, load_settings())
    lost.__cause__ = asyncpg.AdminShutdownError("terminating connection due to administrator command")
    for raised in (lost, lost.__cause__):
        told = explained(raised, load_settings())
        assert isinstance(told, Unreachable)
        assert told.advice != broken.advice


def test_what_a_pooler_refuses_is_no_reason_to_ask_whether_postgresql_runs() -> None:
    """PgBouncer, with all its connections in use: when connecting, and in the middle of a statement."""
    refused = asyncpg.ProtocolViolationError("query_wait_timeout")
    lost = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
    ended = explained(lost, load_settings())
    lost.__cause__ = refused
    for raised in (refused, lost):
        told = explained(raised, load_settings())
        assert isinstance(told, Unreachable)
        assert "query_wait_timeout" in told.message
        assert told.advice != ended.advice
    unknown = "unsupported startup parameter: default_transaction_read_only"
    told = explained(asyncpg.ProtocolViolationError(unknown), load_settings())
    assert unknown in told.message
    assert "DB_READ_ONLY" in told.advice


@pytest.mark.parametrize("conflict", [asyncpg.DeadlockDetectedError, asyncpg.SerializationError])
async def test_a_conflict_is_retried_however_often_a_sick_database_refused_the_call_before(
    conflict: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "delay_s", lambda self, tries: 0.0)
    sick = (
        asyncpg.LockNotAvailableError("locked"),
        asyncpg.QueryCanceledError("statement timeout"),
        asyncpg.TargetServerAttributeNotMatched("None of the hosts match"),
    )
    left = [*sick * 10, conflict("once")]

    async def call() -> str:
        if left:
            raise left.pop(0)
        return "stored"

    assert await persist(call) == "stored"


async def test_a_conflict_that_does_not_end_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "delay_s", lambda self, tries: 0.0)

    async def call() -> None:
        raise asyncpg.DeadlockDetectedError("again")

    with pytest.raises(asyncpg.DeadlockDetectedError):
        await persist(call)


async def test_a_server_that_assigns_no_transaction_ids_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Backoff, "delay_s", lambda self, tries: 0.0)
    wrapping = {"C": "54000", "M": "keine neuen Transaktions-IDs", "R": "GetNewTransactionId"}
    too_large = {"C": "54000", "M": "Indexzeile ist zu gross", "R": "_bt_check_third_page"}
    left = [wrapping] * 20

    async def call() -> str:
        if left:
            raise asyncpg.PostgresError.new(left.pop())
        return "stored"

    assert await persist(call) == "stored"
    assert not is_of_the_data(asyncpg.PostgresError.new(wrapping))
    assert is_of_the_data(asyncpg.PostgresError.new(too_large))
    left = [too_large]
    with pytest.raises(asyncpg.ProgramLimitExceededError):
        await persist(call)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.SequenceGeneratorLimitExceededError("reached maximum value of sequence"),
        asyncpg.NumericValueOutOfRangeError("integer out of range"),
        asyncpg.InsufficientPrivilegeError("permission denied"),
        asyncpg.LockNotAvailableError("lock timeout"),
    ],
)
def test_what_would_meet_any_text_is_of_none(error: asyncpg.PostgresError) -> None:
    assert not is_of_the_data(error)
    assert is_of_the_data(asyncpg.DataError("invalid byte sequence"))


async def test_settings_that_asyncpg_cannot_use_are_not_tried_for_ever() -> None:
    """To asyncpg it is an error of the interface, as a lost connection is."""

    async def call() -> None:
        raise asyncpg.ClientConfigurationError("no such sslrootcert")

    with pytest.raises(asyncpg.ClientConfigurationError) as caught:
        await persist(call)
    assert not is_sick(caught.value)


async def test_a_sick_database_is_waited_for_within_the_time_that_there_is() -> None:
    told: list[Exception] = []

    async def call() -> None:
        raise asyncpg.DiskFullError("no space")

    with pytest.raises(asyncpg.DiskFullError):
        await persist(call, told.append, within_s=0.05)
    assert told
