"""A bounded window of the audit log, which grows at its end, and at its beginning page by page.

It follows a tail that remembers, rather than fetching the newest page again and again. Rows become visible
when their transaction commits, so some appear below rows already seen, and at a thousand tasks a second one
page is too short to include them. `AuditTail` misses none, across any number of connections, and returns only
what has been committed since. If that is too much, the window starts over with the newest rows; all others
are reached by paging, where every committed row is in its place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from uuid import UUID

from embedq_tui.filters.audit_filter import Wanted
from embedq_tui.live.feed import DUTY
from embedq_tui.screens.audit.render import LONGEST
from embedq_worker.database.connections import Connection
from embedq_worker.insights.audit import AuditFilter, AuditRow, audit_page
from embedq_worker.insights.audit_tail import AuditTail
from embedq_worker.queue.selection import Cursor

KEPT = 2_000
PAGE = 200

FLOOD = 10_000
"""If one refresh brings more rows than this, it is cut short and the newest rows are read instead."""

AWAY_S = 30.0
"""After this many seconds without a refresh it is cheaper to start over."""

LATE = timedelta(seconds=15)
"""How much older than its transaction's first write a row's timestamp may be and still be found: every
refresh reads that much of the log. Even older ones appear when the operator pages, or comes back."""


def place(row: AuditRow) -> tuple[datetime, UUID]:
    """The position of a row in the log."""
    return row.event.at, row.id


class _Stretch:
    """Rows in log order, without a gap between the first and the last."""

    def __init__(self, rows: Iterable[AuditRow] = (), older: Cursor | None = None) -> None:
        self.rows = sorted(rows, key=place)
        self.older = older
        self._ids = {row.id for row in self.rows}

    def copy(self) -> _Stretch:
        """An independent copy."""
        return _Stretch(self.rows, self.older)

    def add(self, rows: Iterable[AuditRow]) -> int:
        """Add new rows; those before the first row are left for paging.

        Returns:
            How many were added.
        """
        first = place(self.rows[0]) if self.rows and self.older is not None else None
        fresh = [row for row in rows if row.id not in self._ids and (first is None or place(row) > first)]
        if fresh:
            self._take(fresh)
        return len(fresh)

    def prepend(self, rows: Iterable[AuditRow], older: Cursor | None) -> None:
        """Add a page before the first row."""
        self._take([row for row in rows if row.id not in self._ids])
        self.older = older

    def meets(self, rows: Iterable[AuditRow]) -> bool:
        """Whether it contains any of these rows."""
        return any(row.id in self._ids for row in rows)

    def cut_start(self) -> None:
        """Drop the oldest rows if there are too many."""
        if (excess := len(self.rows) - KEPT) > 0:
            self._ids.difference_update(row.id for row in self.rows[:excess])
            del self.rows[:excess]
            first = self.rows[0]
            self.older = Cursor(first.event.at, first.id)

    def cut_end(self) -> int:
        """Drop the newest rows if there are too many.

        Returns:
            How many were added.
        """
        gone = self.rows[KEPT:]
        self._ids.difference_update(row.id for row in gone)
        del self.rows[KEPT:]
        return len(gone)

    def _take(self, rows: Iterable[AuditRow]) -> None:
        self.rows.extend(rows)
        self.rows.sort(key=place)
        self._ids = {row.id for row in self.rows}


class AuditRoll:
    """What is known of the log, and which part is shown.

    Args:
        wanted: The filter.

    Attributes:
        begun: Whether anything has been read yet.
        newer: Number of new rows that are not shown because the operator is looking at others.
        newer_exact: Whether that number is exact, not a minimum.
        earlier: Number of rows that came last, but have their places well above the end of the log: the
            clock of the server was set back, or a long transaction was committed. Those before the operator
            last left the end are not counted.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.begun = False
        self.newer = 0
        self.newer_exact = True
        self.earlier = 0
        self._recent = _Stretch()
        self._shown = self._recent
        self._joined = True
        self._tail: AuditTail | None = None
        self._filter: AuditFilter | None = None
        self._looked = 0.0
        self._took_s = 0.0
        self._looking = asyncio.Lock()

    # -- display

    @property
    def rows(self) -> Sequence[AuditRow]:
        """The rows to show, in log order."""
        return tuple(self._shown.rows)

    @property
    def filter(self) -> AuditFilter | None:
        """The filter as resolved against the database; None before the first read."""
        return self._filter

    @property
    def has_older(self) -> bool:
        """Whether there are rows before the first one shown."""
        return self._shown.older is not None

    @property
    def joined(self) -> bool:
        """Whether the rows shown reach the end of the log."""
        return self._joined

    def follow(self) -> None:
        """Show the newest rows, and follow."""
        self._shown, self._joined = self._recent, True
        self.newer, self.newer_exact = 0, True

    def hold(self, *, still: bool = False) -> None:
        """Keep the rows shown; new ones are appended as long as there is room.

        Args:
            still: Append nothing.
        """
        if self._shown is self._recent:
            self._shown = self._recent.copy()
            self.earlier = 0
        self._joined = self._joined and not still

    # -- reading

    async def look(self, connection: Connection) -> int:
        """Read new rows.

        Returns:
            The number of rows read.
        """
        async with self._looking:
            asked = time.monotonic()
            # After rows that took long to find the feed pauses long, and to find them again is not cheaper.
            if self._tail is None or asked - self._looked > AWAY_S + DUTY * self._took_s:
                came = await self._begin(connection)
                self._took_s = time.monotonic() - asked
            else:
                came = await self._go_on(connection, self._tail)
            self._looked = time.monotonic()
            return came

    async def read_older(self, connection: Connection) -> int:
        """Read the page before the first row shown.

        Returns:
            The number of rows read.
        """
        stretch = self._shown
        if stretch.older is None or self._filter is None:
            return 0
        page = await audit_page(
            connection, self._filter, limit=PAGE, after=stretch.older, longest=LONGEST + 1
        )
        if stretch is not self._shown:
            return 0  # the operator has moved elsewhere in the meantime
        self.hold()
        self._shown.prepend(page.rows, page.next)
        if gone := self._shown.cut_end():
            self.newer += gone
            self._joined = False
        return len(page.rows)

    async def _begin(self, connection: Connection) -> int:
        """Start following, with the newest rows."""
        wanted = await self.wanted.look_up(connection)
        tail = AuditTail(wanted, late=LATE, longest=LONGEST + 1)
        await tail.begin(connection)
        page = await audit_page(connection, wanted, limit=PAGE, longest=LONGEST + 1)
        for row in page.rows:
            tail.told(row)
        self._tail, self._filter = tail, wanted
        rows = page.rows
        if self.begun and not self._recent.meets(rows) and self._recent.rows:
            return self._leap(rows, page.next)
        self.begun = True
        if not self._recent.rows:
            self._recent.older = page.next
        return self._add(rows)

    def _leap(self, rows: Sequence[AuditRow], older: Cursor | None) -> int:
        """Start over with newer rows; those in the gap are read when the operator pages there."""
        follows = self._shown is self._recent
        self._recent = _Stretch(rows, older)
        if follows:
            self._shown = self._recent
        else:
            self._joined, self.newer_exact = False, False
            self.newer += len(rows)
        return len(rows)

    async def _go_on(self, connection: Connection, tail: AuditTail) -> int:
        came = 0
        async with aclosing(tail.news(connection)) as news:
            async for rows in news:
                self._note_earlier(rows)
                came += self._add(rows)
                if came > FLOOD:
                    break
        return came if came <= FLOOD else came + await self._begin(connection)

    def _note_earlier(self, rows: Sequence[AuditRow]) -> None:
        above = self._recent.rows[-1].event.at - LATE if self._recent.rows else None
        behind = above is not None and all(row.event.at < above for row in rows)
        self.earlier = self.earlier + len(rows) if behind else 0

    def _add(self, rows: Sequence[AuditRow]) -> int:
        came = self._recent.add(rows)
        self._recent.cut_start()
        if self._shown is self._recent:
            return came
        if self._joined and len(self._shown.rows) + came <= KEPT:
            self._shown.add(rows)
        else:
            self._joined = False
            self.newer += came
        return came
