"""The session that changes the schema: only one per database, and without blocking readers and writers.

A statement that needs an ACCESS EXCLUSIVE lock waits for every transaction that has used the table, and later
queries queue behind it. So it waits only briefly, lets the others through, and tries again.
CREATE INDEX CONCURRENTLY blocks nobody: it may wait as long as it has to.
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
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.blockers import ABOUT, described
from embedq_worker.database.connections import DirectConnection, connected
from embedq_worker.database.failures import EXPECTED_ERRORS, explained
from embedq_worker.database.locks import LOCK_CLASS
from embedq_worker.errors import MIGRATE, SchemaError
from embedq_worker.schema.files import runs_in_transaction, statements_of
from embedq_worker.schema.partitions import Step, steps_of
from embedq_worker.text import printable_line

Report: TypeAlias = Callable[[str], None]

APPLICATION = "embedq-migrate"

_LOCK = (LOCK_CLASS << 32) | 1
_HELD = f"""EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = {LOCK_CLASS}
               AND objid = 1 AND objsubid = 1 AND pid = {{pid}}
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
"""They exist from PostgreSQL 14 and 17 on."""


class Patience(NamedTuple):
    """How long to wait for locks.

    Attributes:
        lock_s: Seconds that one attempt waits for a lock; other sessions queue behind it for that long.
        total_s: Seconds after which a blocked step gives up.
        between: Delay between attempts.
    """

    lock_s: float = 0.4
    total_s: float = 1_800.0
    between: Backoff = Backoff(0.2, 5.0)


@dataclass(slots=True)
class SchemaSession:
    """Runs SQL that changes the schema; opened by `schema_session`.

    Attributes:
        connection: Holds the advisory lock and runs every statement.
        watch: Finds out which sessions block it.
        report: Called with lines for the operator.
        patience: How long to wait for locks.
        running: Name of the file that is running, or failed.
    """

    connection: DirectConnection
    watch: DirectConnection
    report: Report
    patience: Patience
    running: str = ""
    _pid: int = 0
    _blockers: list[str] = field(default_factory=list)
    _blocking: list[int] = field(default_factory=list)
    _reported_at: float = 0.0

    async def run(self, label: str, sql: str, record: str, *arguments: object) -> None:
        """Run a file, and record that it was run.

        Args:
            label: Its name, for the operator.
            sql: Its contents.
            record: Statement that records it, in the same transaction if the file runs in one.
            arguments: Arguments of that statement.

        Raises:
            SchemaError: Another session blocked it for too long, or the advisory lock was lost.
            asyncpg.PostgresError: A statement failed.
        """
        self.running = label
        if not runs_in_transaction(sql):
            for statement in statements_of(sql):
                for step in await steps_of(self.connection, statement):
                    run = self._alone if step.concurrently else self._briefly
                    await self._retried(label, partial(run, label, step))
            sql = ""
        await self._retried(label, partial(self._in_transaction, label, sql, record, *arguments))
        self.running = ""

    async def _retried(self, label: str, attempt: Callable[[], Awaitable[None]]) -> None:
        started = time.monotonic()
        for tries in count():
            try:
                await attempt()
                return
            except _BUSY:
                if time.monotonic() - started > self.patience.total_s:
                    raise self._gave_up(label) from None
            self._report_blockers(label, "retrying until the lock is available")
            if await self._displaced_vacuum():
                continue
            await asyncio.sleep(self.patience.between.delay_s(tries))

    async def _displaced_vacuum(self) -> bool:
        """Have PostgreSQL cancel an autovacuum that blocks us; return whether one was in the way.

        PostgreSQL does so for a session that has waited for deadlock_timeout, which is longer than an attempt
        may take. This waits that long in a lock mode that blocks no reader or writer.
        """
        displaced = False
        for table in await self.watch.fetch(_VACUUMED, self._blocking):
            with suppress(*EXPECTED_ERRORS):
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
        """Run a statement that PostgreSQL does not allow in a transaction."""
        await self._require_lock()
        if step.builds and await self._index_is_valid(step.builds) is False:
            self.report(f"{label}: {step.builds} was left invalid by an interrupted build; building it again")
            # The invalid index would satisfy IF NOT EXISTS, yet no query could ever use it.
            drop = f"DROP INDEX CONCURRENTLY IF EXISTS {step.builds}"
            await self._watched(label, self.connection.execute(drop, timeout=_NO_LIMIT_S))
        await self._watched(label, self.connection.execute(step.statement, timeout=_NO_LIMIT_S))
        if step.builds and not await self._index_is_valid(step.builds):
            raise SchemaError(f"{label}: {step.builds} could not be built", MIGRATE)

    async def _briefly(self, label: str, step: Step) -> None:
        """Run a statement that blocks others, but takes only a moment."""
        await self._in_transaction(label, step.statement, "SELECT 1")

    async def _index_is_valid(self, name: str) -> bool | None:
        valid: bool | None = await self.connection.fetchval(
            "SELECT indisvalid AND indisready FROM pg_index WHERE indexrelid = to_regclass($1)", name
        )
        return valid

    async def _watched(self, label: str, work: Coroutine[Any, Any, Any]) -> None:
        """Await a statement of the connection; cancel it if it is blocked for too long."""
        task = asyncio.ensure_future(work)
        blocked_since = None
        try:
            while not (await asyncio.wait({task}, timeout=self.patience.lock_s / 4))[0]:
                blockers = await self._find_blockers()
                if not blockers:
                    blocked_since = None
                    continue
                self._blockers = blockers
                blocked_since = blocked_since or time.monotonic()
                waited = time.monotonic() - blocked_since
                if waited > self.patience.total_s:
                    raise self._gave_up(label)
                if waited > self.patience.lock_s * 2:
                    self._report_blockers(label, "meanwhile it blocks nobody")
            await task
        finally:
            if not task.done():  # asyncpg also cancels the statement on the server
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _find_blockers(self) -> list[str]:
        rows = await self.watch.fetch(
            f"""SELECT b.pid, {ABOUT}
               FROM (SELECT DISTINCT unnest(pg_blocking_pids($1)) AS pid) AS b
               LEFT JOIN pg_stat_activity a ON a.pid = b.pid ORDER BY a.xact_start""",
            self._pid,
        )
        self._blocking = [row["pid"] for row in rows] or self._blocking
        return [described(row) for row in rows]

    def _report_blockers(self, label: str, meanwhile: str) -> None:
        if time.monotonic() - self._reported_at < _REPORT_EVERY_S:
            return
        self._reported_at = time.monotonic()
        self.report(f"{label} is waiting for {self._names()}; {meanwhile}")

    def _names(self) -> str:
        shown = self._blockers[:3] or ["another session"]
        more = len(self._blockers) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")

    def _gave_up(self, label: str) -> SchemaError:
        return SchemaError(
            f"{label} gave up after waiting {self.patience.total_s:.0f} s for {self._names()}",
            "end that transaction, or its session with SELECT pg_terminate_backend(PID), and migrate again; "
            "migrations already applied stay applied",
        )

    # -- the lock

    async def prepare(self, dimensions: int) -> None:
        """Lift the limits that roles and databases set on sessions, and wait for the advisory lock.

        Args:
            dimensions: Dimensions of a vector, for the tables to be created.
        """
        await self.connection.execute(
            "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;"
            "SET default_transaction_isolation = 'read committed'"
        )
        await self.connection.execute(
            "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = ANY ($1::text[])",
            _LATER_LIMITS,
        )
        # So that the server notices a migrator whose host has vanished, ends its statement, and releases its
        # lock.
        await self.connection.execute("SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10")
        with suppress(asyncpg.PostgresError):  # from 14 on, and not on every platform
            await self.connection.execute("SET client_connection_check_interval = '2s'")
        self.connection.add_log_listener(self._on_notice)
        await self._take_lock()
        await self.connection.execute("SELECT set_config('embedq.dimensions', $1, false)", str(dimensions))

    async def _take_lock(self) -> None:
        started = time.monotonic()
        for tries in count():
            # Never a blocking pg_advisory_lock(): while it waits it holds a snapshot, for which CREATE INDEX
            # CONCURRENTLY of the lock's holder would wait: a deadlock.
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
            self._report_blockers("the migration", "it is already migrating")
            await asyncio.sleep(self.patience.between.delay_s(min(tries, 2)))

    async def _lock_holders(self) -> list[str]:
        rows = await self.watch.fetch(
            f"""SELECT a.pid, {ABOUT} FROM pg_stat_activity a WHERE {_HELD.format(pid="a.pid")}"""
        )
        return [described(row) for row in rows]

    async def _require_lock(self) -> None:
        if not await self.connection.fetchval(f"SELECT {_HELD.format(pid='pg_backend_pid()')}"):
            raise SchemaError(
                "the connection changed its server session while migrating (PgBouncer in transaction mode?)",
                "migrate over a direct connection: DATABASE_URL=postgresql://... embedq-tui --migrate",
            )

    async def release(self) -> None:
        """Release the advisory lock, even if a pooler keeps the server session that holds it."""
        await self.connection.execute("RESET ALL")
        if await self.connection.fetchval(f"SELECT pg_advisory_unlock({_LOCK})"):
            return
        idle = f"a.pid = $1 AND a.state = 'idle' AND {_HELD.format(pid='a.pid')}"
        for _ in range(100):  # wait while another client of the pooler uses that session
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
    """Open the session that changes the schema; only one per database at a time.

    Args:
        settings: Where the database is.
        report: Called with lines for the operator.
        patience: How long to wait for locks.

    Raises:
        SchemaError: Another session held the advisory lock for too long.
        EmbedqError: The database cannot be reached, or a statement failed.
    """
    async with connected(settings, APPLICATION) as connection, connected(settings, APPLICATION) as watch:
        session = SchemaSession(connection, watch, report, patience)
        await session.prepare(settings.dimensions)
        try:
            yield session
        except asyncpg.PostgresError as error:
            found = explained(error, settings)
            if isinstance(error, asyncpg.RaiseError):  # raised by our SQL files, with what to do as a hint
                found = SchemaError(printable_line(str(error.message)), printable_line(error.hint or ""))
            if not session.running:
                raise found from error
            raise type(found)(f"{session.running}: {found.message}", found.advice) from error
        finally:
            with suppress(*EXPECTED_ERRORS):
                await session.release()
