"""A stretch of the audit log that grows at its end, and at its beginning by pages, and stays small.

Why a tail that remembers, and not the newest page again and again: rows become visible when their transaction
commits, so some come below those that were seen already, and at a thousand tasks a second a page is too
short to meet them. `AuditTail` misses none, over any number of connections, and tells only what was committed
since. Where too much was, the roll begins anew with the newest rows: all others are reached by pages, in
which every row that is committed has its place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

from embedq_tui.filters.audit_filter import Wanted
from embedq_tui.live.questions import CONTROL, PROVIDER, TASKS, WORKERS, Question
from embedq_worker.database.connections import Connection
from embedq_worker.insights.audit import AuditFilter, AuditPage, AuditRow, audit_page
from embedq_worker.insights.audit_tail import AuditTail
from embedq_worker.insights.detail import article_id
from embedq_worker.queue.selection import Cursor
from embedq_worker.settings import Settings

KEPT = 2_000
PAGE = 200

FLOOD = 10_000
"""More than this in one look is not read to its end: the newest are read instead."""

AWAY_S = 30.0
"""After this long without a look it is cheaper to begin anew."""

LATE = timedelta(seconds=15)
"""How much older than its transaction's first write a row may say it is and still be told: every look reads
that much of the log. Later ones are there when the operator comes back, or pages."""

LONGEST = 20_000
"""Characters of a text that are kept: rows are many, and no pane shows more."""


def place(row: AuditRow) -> tuple[datetime, UUID]:
    """Where a row stands in the log."""
    return row.event.at, row.id


class _Stretch:
    """Rows in the order of the log, without a gap between the first and the last."""

    def __init__(self, rows: Iterable[AuditRow] = (), older: Cursor | None = None) -> None:
        self.rows = sorted(rows, key=place)
        self.older = older
        self._ids = {row.id for row in self.rows}

    def copy(self) -> _Stretch:
        """Another one that is alike."""
        return _Stretch(self.rows, self.older)

    def add(self, rows: Iterable[AuditRow]) -> int:
        """Add rows that are not there yet; those before its beginning are found by pages.

        Returns:
            How many.
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
        """Whether it has one of these."""
        return any(row.id in self._ids for row in rows)

    def cut_start(self) -> None:
        """Let the oldest rows go where there are too many."""
        if (excess := len(self.rows) - KEPT) > 0:
            self._ids.difference_update(row.id for row in self.rows[:excess])
            del self.rows[:excess]
            first = self.rows[0]
            self.older = Cursor(first.event.at, first.id)

    def cut_end(self) -> int:
        """Let the newest rows go where there are too many.

        Returns:
            How many.
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
    """What is known of the log, and what of it is shown.

    Args:
        wanted: Which rows.

    Attributes:
        begun: Whether anything was read yet.
        newer: Rows that came and are not shown, while the operator looks at others.
        newer_exact: False: there are more than that.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.begun = False
        self.newer = 0
        self.newer_exact = True
        self._recent = _Stretch()
        self._shown = self._recent
        self._joined = True
        self._tail: AuditTail | None = None
        self._filter: AuditFilter | None = None
        self._looked = 0.0
        self._looking = asyncio.Lock()

    # -- what is shown

    @property
    def rows(self) -> Sequence[AuditRow]:
        """In the order of the log."""
        return tuple(self._shown.rows)

    @property
    def filter(self) -> AuditFilter | None:
        """As the database is asked; None while nothing was read."""
        return self._filter

    @property
    def has_older(self) -> bool:
        """Whether there are rows before the first that is shown."""
        return self._shown.older is not None

    @property
    def joined(self) -> bool:
        """Whether what is shown reaches to the end of the log."""
        return self._joined

    def follow(self) -> None:
        """Show the newest rows, and go on with what comes."""
        self._shown, self._joined = self._recent, True
        self.newer, self.newer_exact = 0, True

    def hold(self, *, still: bool = False) -> None:
        """Keep what is shown; what comes is added behind it as long as there is room.

        Args:
            still: Nothing is added.
        """
        if self._shown is self._recent:
            self._shown = self._recent.copy()
        self._joined = self._joined and not still

    # -- what is read

    async def look(self, connection: Connection) -> int:
        """Read what is new.

        Returns:
            How many rows.
        """
        async with self._looking:
            if self._tail is None or time.monotonic() - self._looked > AWAY_S:
                came = await self._begin(connection)
            else:
                came = await self._go_on(connection, self._tail)
            self._looked = time.monotonic()
            return came

    async def read_older(self, connection: Connection) -> int:
        """Read the page before the first row that is shown.

        Returns:
            How many rows.
        """
        stretch = self._shown
        if stretch.older is None or self._filter is None:
            return 0
        page = await audit_page(connection, self._filter, limit=PAGE, after=stretch.older, longest=LONGEST)
        if stretch is not self._shown:
            return 0  # the operator went elsewhere meanwhile
        self.hold()
        self._shown.prepend(page.rows, page.next)
        if gone := self._shown.cut_end():
            self.newer += gone
            self._joined = False
        return len(page.rows)

    async def _begin(self, connection: Connection) -> int:
        """Begin to follow, with the newest rows."""
        wanted = self.wanted.filter
        if self.wanted.article is not None:
            wanted = replace(wanted, article=await article_id(connection, self.wanted.article))
        tail = AuditTail(wanted, late=LATE, longest=LONGEST)
        await tail.begin(connection)
        page = await audit_page(connection, wanted, limit=PAGE, longest=LONGEST)
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
        """Between these rows and those before are others: they are read when the operator goes there."""
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
                came += self._add(rows)
                if came > FLOOD:
                    break
        return came if came <= FLOOD else came + await self._begin(connection)

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


@dataclass(frozen=True, eq=False)
class FollowLog(Question[int]):
    """What is new in the log; it goes into the roll, from which a look that is cut off takes nothing away."""

    roll: AuditRoll
    hears: ClassVar[frozenset[str]] = frozenset({TASKS, WORKERS, CONTROL, PROVIDER})
    pause_s: ClassVar[float] = 0.5
    every_s: ClassVar[float] = 2.0

    async def ask(self, connection: Connection, settings: Settings) -> int:
        """Ask it once."""
        return await self.roll.look(connection)


@dataclass(frozen=True)
class OnePage(Question[AuditPage]):
    """A page of the log, the newest rows first."""

    wanted: AuditFilter
    after: Cursor | None
    within_s: ClassVar[float] = 60.0

    async def ask(self, connection: Connection, settings: Settings) -> AuditPage:
        """Ask it once."""
        return await audit_page(connection, self.wanted, limit=5 * PAGE, after=self.after)


@dataclass(frozen=True, eq=False)
class OlderRows(Question[int]):
    """The page before what is shown; it goes into the roll."""

    roll: AuditRoll
    within_s: ClassVar[float] = 60.0

    async def ask(self, connection: Connection, settings: Settings) -> int:
        """Ask it once."""
        return await self.roll.read_older(connection)
