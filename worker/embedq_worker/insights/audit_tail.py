"""Follow the audit log: every new row exactly once.

Rows become visible when their transaction commits, which is not the order of their timestamps; remembering a
position in the log would lose rows that commit late. So each poll compares the server's snapshot with that of
the previous poll. The difference shows which transactions have ended in between, and from when on they can
have written rows. From that time on the log is read again by its index on time, without the rows that were
visible before: those are recognised by the transaction that wrote them or, if that is not conclusive, by
their id. While nothing is committed, nothing is read. That the server's clock was set back shows in the time
that passed between two polls, there and here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import NamedTuple
from uuid import UUID

import asyncpg

from embedq_worker.database.connections import Connection
from embedq_worker.insights.audit import AuditFilter, AuditRow, audit_columns, row_of
from embedq_worker.insights.tasks import WHOLE
from embedq_worker.queue.selection import BY_INDEX, Parameters

LATE = timedelta(minutes=2)
"""How far the timestamp of a row may lie before its transaction's first write: the time between BEGIN and
that write, plus the clock skew of programs that set timestamps themselves."""

PAGE = 1_000
REMEMBERED = 100_000
LOOK_S = 10.0

_NEVER = datetime.max.replace(tzinfo=UTC)
_NO_ID = UUID(int=0)
_XIDS = 1 << 32


class _Snapshot(NamedTuple):
    """Which transactions have ended.

    Attributes:
        at: The database's time just before the snapshot.
        clock: The time of `time.monotonic` just before that.
        low: All transactions before this one have ended.
        high: This one and all later ones have not.
        open: Transactions that have not ended; includes all between `low` and `high`, unless `partial`.
        partial: Taken on a replica, which does not list them.
    """

    at: datetime
    clock: float
    low: int
    high: int
    open: frozenset[int]
    partial: bool

    def has_ended(self, transaction: int) -> bool:
        return transaction < self.high and transaction not in self.open

    def earliest_since(self, before: _Snapshot) -> datetime:
        """The earliest time of the database since an earlier snapshot; its clock may have been set back."""
        return min(before.at, self.at - timedelta(seconds=self.clock - before.clock))


class AuditTail:
    """Follows the log, also across reconnections.

    Args:
        wanted: Which rows.
        late: How far the timestamp of a row may lie before its transaction's first write.
        page: Rows read at once.
        remembered: Number of rows to remember that a poll might read again. If there are more, rows of a
            transaction with savepoints that was open the whole time may be missed.
        longest: Maximum characters of a text.
    """

    def __init__(
        self,
        wanted: AuditFilter,
        *,
        late: timedelta = LATE,
        page: int = PAGE,
        remembered: int = REMEMBERED,
        longest: int = WHOLE,
    ) -> None:
        self._wanted = wanted
        self._late = late
        self._page = page
        self._remembered = remembered
        self._longest = longest
        self._before: _Snapshot | None = None
        self._connection: Connection | None = None
        self._open_since: dict[int, datetime] = {}
        self._returned: dict[UUID, tuple[int, datetime]] = {}
        self._forgotten_until = self._by_id_since = datetime.min.replace(tzinfo=UTC)

    def told(self, row: AuditRow) -> None:
        """Register a row that was shown from another source, so that it is not repeated."""
        self._returned[row.id] = (self._before.high if self._before else 0, row.event.at)

    async def begin(self, connection: Connection) -> None:
        """Start here: rows visible now are not new, rows not yet committed will be.

        Args:
            connection: To the migrated database.
        """
        writers = await _writers(connection)
        oldest = min(await connection.fetchval(_OLDEST_WRITER), writers.at)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            seen = await _snapshot(connection, writers)
            self._by_id_since = seen.at
            async for _ in self._read(connection, oldest - self._late, seen, by_id=True):
                pass
        self._open_since = dict.fromkeys(seen.open, oldest)
        self._before, self._connection = seen, connection

    async def news(self, connection: Connection) -> AsyncGenerator[tuple[AuditRow, ...], None]:
        """Poll for new rows; the first call only calls `begin`.

        If a poll fails, the next one reads what it missed.

        Args:
            connection: To the migrated database; a new one if the last was lost.

        Yields:
            Rows in order of their timestamps; rows that commit late come in a later poll.
        """
        if self._before is None:
            await self.begin(connection)
            return
        seen = await _snapshot(connection, await _writers(connection))
        # A new connection may lead to a replica that was promoted without the last transactions and reuses
        # their numbers.
        changed = connection is not self._connection
        floor = self._floor(seen, self._before, changed=changed)
        if floor is not None:
            # Read with later snapshots than `seen`: they show at least as much, and the next poll recognises
            # what they show in addition. So no transaction is kept open while the rows are shown.
            async for rows in self._read(connection, floor, self._before, by_id=changed):
                yield rows
        self._advance(seen, self._before)
        self._connection = connection

    def _floor(self, seen: _Snapshot, before: _Snapshot, *, changed: bool) -> datetime | None:
        """The earliest timestamp that a newly visible row can have; None if there can be none."""
        earliest = seen.earliest_since(before)
        if seen.partial:
            starts = [earliest, *self._open_since.values()]
        else:
            starts = [
                min(since, earliest) for each, since in self._open_since.items() if seen.has_ended(each)
            ]
            if changed or seen.high > before.high:
                starts.append(earliest)
        return min(starts) - self._late if starts else None

    async def _read(
        self, connection: Connection, floor: datetime, before: _Snapshot, *, by_id: bool
    ) -> AsyncIterator[tuple[AuditRow, ...]]:
        """Read rows from a time on that may be newly visible, without those already returned.

        Args:
            connection: To the migrated database.
            floor: That time.
            before: The previous snapshot.
            by_id: Recognise rows already returned by their ids alone, as far back as all ids are remembered.
        """
        told = [
            each
            for each, (writer, at) in self._returned.items()
            if at >= floor and (by_id or writer >= before.low)
        ]
        recent = max(before.at - self._late, self._by_id_since) if by_id else _NEVER
        known = [each % _XIDS for each in before.open]
        parameters = Parameters((self._page, floor, _NO_ID, before.low, before.high, told, known))
        parameters += [self._forgotten_until, recent, self._longest]
        statement = _NEW.format(conditions=" AND ".join([*self._wanted.conditions(parameters), "true"]))
        while True:
            async with connection.transaction(readonly=True):
                await connection.execute(_PLAN)
                rows = await connection.fetch(statement, *parameters)
            for row in rows:
                self._returned[row["id"]] = (_whole(row["writer"], before.high), row["timestamp"])
            if rows:
                yield tuple(row_of(row) for row in rows)
            if len(rows) < self._page:
                return
            parameters[1:3] = [rows[-1]["timestamp"], rows[-1]["id"]]

    def _advance(self, seen: _Snapshot, before: _Snapshot) -> None:
        """Make this the previous snapshot, and forget rows that no poll will read again."""
        earliest = seen.earliest_since(before)
        self._open_since = {each: min(self._open_since.get(each, earliest), earliest) for each in seen.open}
        self._before = seen
        # Also keep them by time, in case the next poll uses a new connection.
        outdated = [
            each
            for each, (writer, at) in self._returned.items()
            if writer < seen.low and at < seen.at - self._late
        ]
        for each in outdated:
            self._forget(each)
        while len(self._returned) > self._remembered:
            self._forgotten_until = max(self._forget(next(iter(self._returned))), self._forgotten_until)

    def _forget(self, row: UUID) -> datetime:
        """Forget a row that was returned; it may be a recent one again if the clock is set back."""
        _, at = self._returned.pop(row)
        self._by_id_since = max(at, self._by_id_since)
        return at


def _not_before(transaction: str) -> str:
    """SQL: whether a row was written by this transaction or a later one; xmin is modulo 2^32."""
    return f"((l.xmin::text::bigint - {transaction}::bigint) & 4294967295) < 2147483648"


def _whole(transaction: int, near: int) -> int:
    """The full transaction number, from its lowest 32 bits and a number near it."""
    return near + (transaction - near + _XIDS // 2) % _XIDS - _XIDS // 2


# Forces a hash of the known ids and an index scan of the log.
_PLAN = f"{BY_INDEX}; SET LOCAL enable_nestloop = off"

# Subtransactions have numbers of their own, which snapshots do not list, so a number missing from the list of
# open ones does not prove that the row was visible. But they are higher than that of their transaction, and
# so higher than `low`.
_NEW = f"""
SELECT l.*, (SELECT a.slug FROM articles a WHERE a.id = l.article_id) AS slug
FROM (SELECT {audit_columns("$10::int")}, l.xmin::text::bigint AS writer FROM embedding_audit_logs AS l
      WHERE (l.timestamp, l.id) > ($2::timestamptz, $3::uuid)
        AND (l.timestamp > $9::timestamptz OR {_not_before("$4")})
        AND NOT EXISTS (SELECT FROM unnest($6::uuid[]) AS told(id) WHERE told.id = l.id)
        AND (l.timestamp > $8::timestamptz OR l.xmin::text::bigint = ANY ($7::bigint[])
             OR {_not_before("$5")})
        AND {{conditions}}
      ORDER BY l.timestamp, l.id LIMIT $1::int) AS l
ORDER BY l.timestamp, l.id
"""

# A snapshot does not list open transactions above its upper end; pg_stat_activity does.
_WRITERS = """
SELECT now() AS at, ARRAY(SELECT backend_xid::text::bigint FROM pg_stat_activity WHERE backend_xid IS NOT NULL
                          UNION SELECT transaction::text::bigint FROM pg_prepared_xacts) AS writers
"""

# A role without pg_read_all_stats does not see when transactions of other roles began.
_OLDEST_WRITER = """
SELECT least(now(), (SELECT min(coalesce(xact_start, now() - interval '1 hour'))
                     FROM pg_stat_activity WHERE backend_xid IS NOT NULL),
             (SELECT min(prepared) - interval '1 hour' FROM pg_prepared_xacts))
"""

# The txid_* functions, because PostgreSQL 12 lacks the newer pg_* ones.
_ENDED = """
SELECT txid_snapshot_xmin(s) AS low, txid_snapshot_xmax(s) AS high,
       ARRAY(SELECT txid_snapshot_xip(s)) AS open, pg_is_in_recovery() AS partial
FROM txid_current_snapshot() AS s
"""


class _Writers(NamedTuple):
    """Writing transactions at a time, as the lowest 32 bits of their numbers."""

    clock: float
    at: datetime
    numbers: tuple[int, ...]


async def _writers(connection: Connection) -> _Writers:
    clock = monotonic()
    row: asyncpg.Record | None = await connection.fetchrow(_WRITERS, timeout=LOOK_S)
    assert row is not None
    return _Writers(clock, row["at"], tuple(row["writers"]))


async def _snapshot(connection: Connection, writers: _Writers) -> _Snapshot:
    """Take a snapshot after listing the writers: any transaction that starts in between began after `at`."""
    ended: asyncpg.Record | None = await connection.fetchrow(_ENDED, timeout=LOOK_S)
    assert ended is not None
    low, high = ended["low"], ended["high"]
    above = {each for each in (_whole(number, high) for number in writers.numbers) if each >= high}
    oldest = {low} if low < high else set()
    return _Snapshot(
        writers.at, writers.clock, low, high, frozenset({*ended["open"], *above, *oldest}), ended["partial"]
    )
