"""Find and close connections whose server is gone although a proxy in between still acknowledges packets."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from weakref import WeakSet

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.blockers import Blocker, holder_of_table
from embedq_worker.database.connections import DirectConnection, connected, serves
from embedq_worker.database.failures import EXPECTED_ERRORS
from embedq_worker.database.line import Line
from embedq_worker.errors import EmbedqError
from embedq_worker.waits import beside

LOOKS = 3
"""Checks in a row that must find a connection waiting in vain before it is closed."""


MOMENT_S = 30.0
"""Seconds for which it is remembered for whose lock a connection was waiting: a statement that ran out of
time may be waiting again, but not yet for so long that it is looked at."""


class _Seen(NamedTuple):
    """A connection that seems to wait in vain.

    Attributes:
        since: Since when it has been waiting.
        moved: See `Line.moved`.
        looks: How many checks in a row found just that.
    """

    since: float
    moved: bytes
    looks: int


class LineWatch:
    """Checks at intervals what the connections of a pool are waiting for.

    A connection that waits, check after check, for a server process that is idle or gone, or a server that is
    unreachable, while not a byte moves, waits in vain. It is closed, and so are the idle connections of the
    pool, so that the waiting caller retries on a new one. A slow statement is left alone while the server is
    working on it.

    Args:
        settings: Where the database is.
        on_ended: Called with the number of connections that were closed.
        on_blocked: Called with each other session for whose lock a connection waits.
        on_waiting: Called when a connection is found waiting for a lock, and when none waits any more.
        suspect_s: Seconds of waiting before a connection is checked.
        every_s: Seconds between two checks.
        within_s: Seconds the server has to report the state of its processes.

    Attributes:
        blocked_at: When a connection was last found waiting for a lock, by `time.monotonic`.
    """

    def __init__(
        self,
        settings: Settings,
        on_ended: Callable[[int], None] = lambda count: None,
        on_blocked: Callable[[Blocker], None] = lambda blocker: None,
        on_waiting: Callable[[], object] = lambda: None,
        *,
        suspect_s: float = 10.0,
        every_s: float = 4.0,
        within_s: float = 10.0,
    ) -> None:
        self._settings = settings
        self._lines: WeakSet[Line] = WeakSet()
        self._on_ended = on_ended
        self._on_blocked = on_blocked
        self._on_waiting = on_waiting
        self._suspect_s = suspect_s
        self._every_s = every_s
        self._within_s = within_s
        self._seen: dict[Line, _Seen] = {}
        self._blocker: Blocker | None = None
        self.blocked_at = -math.inf
        self._suspects_lock = False
        self._waited = False

    def add(self, connection: DirectConnection) -> None:
        """Watch a connection of the pool."""
        assert isinstance(connection, Line)
        self._lines.add(connection)

    @property
    def blocker(self) -> Blocker | None:
        """The session for whose lock a connection was waiting a moment ago; None if none was."""
        return self._blocker if time.monotonic() - self.blocked_at < MOMENT_S else None

    @property
    def waits_for(self) -> Blocker | None:
        """The session for whose lock a connection was found waiting, and still waits; None if none does."""
        waiting = (line for line in list(self._lines) if line.waits_since is not None)
        return next((line.blocker for line in waiting if line.blocker), None)

    def suspect_lock(self) -> None:
        """At the next check, find out who has locked a table: a statement gave up waiting for it too soon."""
        self._suspects_lock = True

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Run the checks for the duration of the block."""
        async with beside(self._run()):
            yield

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            if self._suspects_lock:
                self._suspects_lock = False
                await self._look_at_tables()
            late = time.monotonic() - self._suspect_s
            suspects = {
                line: line.waits_since
                for line in list(self._lines)
                if not line.is_closed() and line.waits_since is not None and line.waits_since < late
            }
            if suspects:
                await self._look(suspects)
            else:
                self._seen.clear()
            if self._waited != (self.waits_for is not None):
                self._waited = not self._waited
                self._on_waiting()

    async def _look(self, suspects: Mapping[Line, float]) -> None:
        seen, self._seen = self._seen, {}
        for line in await self._unserved(suspects):
            if line.waits_since == suspects[line]:
                now, before = _Seen(suspects[line], line.moved, 1), seen.get(line)
                same = before is not None and (before.since, before.moved) == (now.since, now.moved)
                self._seen[line] = now._replace(looks=before.looks + 1) if before and same else now
        for blocker in {line.blocker for line in suspects if line.blocker}:
            self._blocks(blocker)
        if any(found.looks >= LOOKS for found in self._seen.values()):
            self._end([line for line in self._lines if line in self._seen or line.waits_since is None])

    async def _unserved(self, lines: Mapping[Line, float]) -> Collection[Line]:
        """Those for which the server is not working; none if that cannot be determined.

        Of the others, who wait for a lock learn whose.
        """
        unserved = list(lines)
        try:
            async with asyncio.timeout(self._within_s), connected(self._settings, "embedq-watch") as other:
                unserved = [
                    line
                    for line in lines
                    if not await serves(other, line.pid, on_replica=bool(line.on_replica))
                ]
                for line in lines:
                    await line.find_blocker(other)
        except (EmbedqError, *EXPECTED_ERRORS) as error:
            cause = error.__cause__ or error
            # If PostgreSQL itself refused the connection, it is up, and its processes may be working.
            return unserved if isinstance(cause, OSError | TimeoutError) else []
        return unserved

    async def _look_at_tables(self) -> None:
        with suppress(EmbedqError, *EXPECTED_ERRORS):
            async with asyncio.timeout(self._within_s), connected(self._settings, "embedq-watch") as other:
                if holder := await holder_of_table(other):
                    self._blocks(holder)

    def _blocks(self, blocker: Blocker) -> None:
        if self.blocker is None or self.blocker.pid != blocker.pid:
            self._on_blocked(blocker)
        self._blocker, self.blocked_at = blocker, time.monotonic()

    def _end(self, lines: Collection[Line]) -> None:
        ended = [line for line in lines if not line.is_closed()]
        for line in ended:
            line.terminate()
        self._seen.clear()
        self._on_ended(len(ended))
