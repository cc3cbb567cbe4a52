"""The one session that changes the schema: its lock against others like it, and its manners towards writers.

A statement that needs a table for itself waits behind every transaction that has used the table, and whoever
comes later waits behind the statement. So it waits for a moment, lets the others through, and tries again.
CREATE INDEX CONCURRENTLY keeps nobody waiting: it may take its time, and waits as long as it has to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, NamedTuple, TypeAlias

import asyncpg

from embedq_worker.backoff import Backoff
from embedq_worker.database.connections import DirectConnection, connected
from embedq_worker.database.failures import EXPECTED_ERRORS
from embedq_worker.errors import SchemaError
from embedq_worker.schema.files import runs_in_transaction, statements_of
from embedq_worker.schema.partitions import Step, steps_of
from embedq_worker.settings import Settings
from embedq_worker.text import printable_line

Report: TypeAlias = Callable[[str], None]

APPLICATION = "embedq-migrate"

_LOCK = (1701667442 << 32) | 1
_HELD = """EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 1701667442
               AND objid = 1 AND objsubid = 1 AND pid = {pid}
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""
_VACUUMED = """
SELECT DISTINCT l.relation::regclass::text AS name FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = ANY ($1::int[]) AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted AND c.relkind = 'r'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_OUTWAIT = """SELECT set_config('lock_timeout', (setting::int + 1000)::text, true) FROM pg_settings
                WHERE name = 'deadlock_timeout'"""
_BUSY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
_NO_LIMIT_S = 30 * 86_400.0
_REPORT_EVERY_S = 10.0

_LATER_LIMITS = ("idle_session_timeout", "transaction_timeout")
"""From PostgreSQL 14 and 17 on."""


class Patience(NamedTuple):
    """How long to wait for others.

    Attributes:
        lock_s: Seconds that one attempt waits for a lock; others wait behind it.
        total_s: Seconds after which a step gives up because somebody is in its way.
        between: Seconds between attempts.
    """

    lock_s: float = 0.4
    total_s: float = 1_800.0
    between: Backoff = Backoff(0.2, 5.0)


@dataclass(slots=True)
class SchemaSession:
    """Runs SQL that changes the schema; made by `schema_session`.

    Attributes:
        connection: Holds the lock, and runs everything.
        watch: Looks who is in the way meanwhile.
        report: Takes a line for the operator.
        patience: How long to wait for others.
    """

    connection: DirectConnection
    watch: DirectConnection
    report: Report
    patience: Patience
    _pid: int = 0
    _blockers: list[str] = field(default_factory=list)
    _blocking: list[int] = field(default_factory=list)
    _reported_at: float = 0.0

    async def run(self, label: str, sql: str, record: str, *arguments: object) -> None:
        """Run a file and write down that it was run.

        Args:
            label: Its name, for the operator.
            sql: What is in it.
            record: Statement that writes it down, in the same transaction where there is one.
            arguments: Of that statement.

        Raises:
            SchemaError: Somebody was in the way for too long, or the lock was lost.
            asyncpg.PostgresError: A statement failed.
        """
        if not runs_in_transaction(sql):
            for statement in statements_of(sql):
                for step in await steps_of(self.connection, statement):
                    run = self._alone if step.concurrently else self._briefly
                    await self._again_and_again(label, partial(run, label, step))
            sql = ""
        await self._again_and_again(label, partial(self._in_transaction, label, sql, record, *arguments))

    async def _again_and_again(self, label: str, attempt: Callable[[], Awaitable[None]]) -> None:
        started = time.monotonic()
        for tries in count():
            try:
                await attempt()
                return
            except _BUSY:
                if time.monotonic() - started > self.patience.total_s:
                    raise self._gave_up(label) from None
            self._say_who_blocks(label, "it tries again until it gets its lock")
            if await self._displaced_vacuum():
                continue
            await asyncio.sleep(self.patience.between.delay_s(tries))

    async def _displaced_vacuum(self) -> bool:
        """Make an autovacuum that was in the way give up; whether one did.

        It does so for who has waited for deadlock_timeout, which is longer than an attempt may take. This
        waits as long, in a mode that keeps no reader or writer waiting, nor those behind it.
        """
        displaced = False
        for table in await self.watch.fetch(_VACUUMED, self._blocking):
            with suppress(asyncpg.PostgresError):
                async with self.watch.transaction():
                    await self.watch.execute(_OUTWAIT)
                    await self.watch.execute(f"LOCK TABLE {table['name']} IN SHARE UPDATE EXCLUSIVE MODE")
                displaced = True
        self._blocking = []
        return displaced

    async def _in_transaction(self, label: str, sql: str, record: str, *arguments: object) -> None:
        async with self.connection.transaction():
            await self._require_lock()
            await self.connection.execute(f"SET LOCAL lock_timeout = {self.patience.lock_s * 1000:.0f}")
            if sql:
                await self._watched(label, self.connection.execute(sql, timeout=_NO_LIMIT_S))
            await self.connection.execute(record, *arguments)

    async def _alone(self, label: str, step: Step) -> None:
        """Run a statement that PostgreSQL allows in no transaction."""
        await self._require_lock()
        if step.builds and await self._index_is_valid(step.builds) is False:
            self.report(f"{label}: {step.builds} was left unfinished and is built anew")
            # The unfinished one would satisfy IF NOT EXISTS and serve no query for ever.
            drop = f"DROP INDEX CONCURRENTLY IF EXISTS {step.builds}"
            await self._watched(label, self.connection.execute(drop, timeout=_NO_LIMIT_S))
        await self._watched(label, self.connection.execute(step.statement, timeout=_NO_LIMIT_S))
        if step.builds and not await self._index_is_valid(step.builds):
            raise SchemaError(f"{label}: {step.builds} could not be built", "run: embedq-tui --migrate")

    async def _briefly(self, label: str, step: Step) -> None:
        """Run a statement that keeps others waiting, and is done in a moment."""
        await self._in_transaction(label, step.statement, "SELECT 1")

    async def _index_is_valid(self, name: str) -> bool | None:
        valid: bool | None = await self.connection.fetchval(
            "SELECT indisvalid AND indisready FROM pg_index WHERE indexrelid = to_regclass($1)", name
        )
        return valid

    async def _watched(self, label: str, work: Coroutine[Any, Any, Any]) -> None:
        """Await work of the connection; end it when somebody was in its way for too long."""
        task = asyncio.ensure_future(work)
        blocked_since = None
        try:
            while not (await asyncio.wait({task}, timeout=self.patience.lock_s / 4))[0]:
                blockers = await self._who_blocks()
                if not blockers:
                    blocked_since = None
                    continue
                self._blockers = blockers
                blocked_since = blocked_since or time.monotonic()
                waited = time.monotonic() - blocked_since
                if waited > self.patience.total_s:
                    raise self._gave_up(label)
                if waited > self.patience.lock_s * 2:
                    self._say_who_blocks(label, "nobody waits for it meanwhile")
            await task
        finally:
            if not task.done():  # asyncpg cancels the statement on the server as well
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _who_blocks(self) -> list[str]:
        rows = await self.watch.fetch(
            """SELECT b.pid, a.usename, a.application_name, a.state,
                      extract(epoch FROM clock_timestamp() - a.xact_start)::float AS seconds
               FROM (SELECT DISTINCT unnest(pg_blocking_pids($1)) AS pid) AS b
               LEFT JOIN pg_stat_activity a ON a.pid = b.pid ORDER BY a.xact_start""",
            self._pid,
        )
        self._blocking = [row["pid"] for row in rows] or self._blocking
        return [_described(row) for row in rows]

    def _say_who_blocks(self, label: str, meanwhile: str) -> None:
        if time.monotonic() - self._reported_at < _REPORT_EVERY_S:
            return
        self._reported_at = time.monotonic()
        self.report(f"{label} waits for {self._names()}; {meanwhile}")

    def _names(self) -> str:
        shown = self._blockers[:3] or ["another session"]
        more = len(self._blockers) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")

    def _gave_up(self, label: str) -> SchemaError:
        return SchemaError(
            f"{label} gave up after {self.patience.total_s:.0f} s behind {self._names()}",
            "let it end its transaction, or end it with SELECT pg_terminate_backend(PID), and migrate again; "
            "what was applied stays applied",
        )

    # -- the lock

    async def prepare(self, dimensions: int) -> None:
        """Lift the limits that roles and databases put on sessions, and wait for the lock.

        Args:
            dimensions: Components per vector, for the tables that are made.
        """
        await self.connection.execute(
            "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;"
            "SET default_transaction_isolation = 'read committed'"
        )
        await self.connection.execute(
            "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = ANY ($1::text[])",
            _LATER_LIMITS,
        )
        # So that the lock of a migrator whose host vanished is let go of, and what it was doing ends.
        await self.connection.execute("SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10")
        with suppress(asyncpg.PostgresError):  # from 14 on, and not on every platform
            await self.connection.execute("SET client_connection_check_interval = '2s'")
        self.connection.add_log_listener(self._on_notice)
        await self._take_lock()
        await self.connection.execute("SELECT set_config('embedq.dimensions', $1, false)", str(dimensions))

    async def _take_lock(self) -> None:
        started = time.monotonic()
        for tries in count():
            # Never a blocking pg_advisory_lock(): whoever waits in it has a snapshot, the holder's CREATE
            # INDEX CONCURRENTLY would wait for that snapshot, and so the two for each other.
            row = await self.connection.fetchrow(
                f"SELECT pg_backend_pid() AS pid, pg_try_advisory_lock({_LOCK}) AS ours"
            )
            assert row is not None
            self._pid = row["pid"]
            if row["ours"]:
                return
            self._blockers = await self._lock_holders()
            if time.monotonic() - started > self.patience.total_s:
                raise self._gave_up("the migration")
            self._say_who_blocks("the migration", "that one migrates already")
            await asyncio.sleep(self.patience.between.delay_s(min(tries, 2)))

    async def _lock_holders(self) -> list[str]:
        rows = await self.watch.fetch(
            f"""SELECT a.pid, a.usename, a.application_name, a.state,
                       extract(epoch FROM clock_timestamp() - a.xact_start)::float AS seconds
                FROM pg_stat_activity a WHERE {_HELD.format(pid="a.pid")}"""
        )
        return [_described(row) for row in rows]

    async def _require_lock(self) -> None:
        if not await self.connection.fetchval(f"SELECT {_HELD.format(pid='pg_backend_pid()')}"):
            raise SchemaError(
                "the connection changed its server session while migrating: a transaction-pooling PgBouncer?",
                "migrate over a direct connection: DATABASE_URL=postgresql://... embedq-tui --migrate",
            )

    async def release(self) -> None:
        """Let go of the lock, also where a pooler keeps the server session that has it."""
        await self.connection.execute("RESET ALL")
        if await self.connection.fetchval(f"SELECT pg_advisory_unlock({_LOCK})"):
            return
        idle = f"a.pid = $1 AND a.state = 'idle' AND {_HELD.format(pid='a.pid')}"
        for _ in range(100):  # not while another client of the pooler is using it
            if await self.watch.fetchval(
                f"SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a WHERE {idle}", self._pid
            ):
                return
            if not await self._lock_holders():
                return
            await asyncio.sleep(0.05)

    def _on_notice(self, _connection: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.severity_en in ("WARNING", "ERROR"):
            hint = getattr(message, "hint", None)
            self.report(printable_line(f"{message.message}. {hint}" if hint else str(message.message)))


@asynccontextmanager
async def schema_session(
    settings: Settings, report: Report, patience: Patience
) -> AsyncIterator[SchemaSession]:
    """Open the session that changes the schema; only one of a database at a time.

    Args:
        settings: Where the database is.
        report: Takes a line for the operator.
        patience: How long to wait for others.

    Raises:
        SchemaError: Another one held the lock for too long.
        EmbedqError: The database cannot be reached or refuses.
    """
    async with connected(settings, APPLICATION) as connection, connected(settings, APPLICATION) as watch:
        session = SchemaSession(connection, watch, report, patience)
        await session.prepare(settings.dimensions)
        try:
            yield session
        except asyncpg.RaiseError as error:  # our own files say what is wrong and what to do
            raise SchemaError(printable_line(str(error.message)), printable_line(error.hint or "")) from None
        finally:
            with suppress(*EXPECTED_ERRORS):
                await session.release()


def _described(row: asyncpg.Record) -> str:
    if row["pid"] == 0:
        return "a prepared transaction (pg_prepared_xacts)"
    # What the session of another role is doing is not shown to everybody.
    words = [row["usename"], row["application_name"], row["state"]]
    if row["seconds"] is not None:
        words.append(f"for {row['seconds']:.0f} s")
    known = ", ".join(word for word in words if word)
    return printable_line(f"session {row['pid']} ({known})" if known else f"session {row['pid']}")
