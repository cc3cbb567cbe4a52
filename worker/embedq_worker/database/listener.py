"""Receive notifications by LISTEN, and notice a listening connection that is dead although it looks alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import NamedTuple
from uuid import uuid4

import asyncpg

from embedq_worker.backoff import Backoff
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.channels import WORK
from embedq_worker.database.connections import RECONNECT, DirectConnection, abandoned
from embedq_worker.database.failures import EXPECTED_ERRORS, explained, one_line
from embedq_worker.errors import EmbedqError
from embedq_worker.waits import first_of

PING_EVERY_S = 20.0
PING_WITHIN_S = 5.0
_PROBE_WITHIN_S = 2.0
_PING = "SELECT set_config('lock_timeout', $2, true), pg_notify($1, '')"
"""Transactions with a NOTIFY commit one at a time. While one waits for a synchronous replica that is gone,
all do, and each test notification would leave a session behind: the server has to end its wait."""
_STAY = """SELECT set_config(name, '1min', false) FROM pg_settings
           WHERE name = 'idle_session_timeout' AND setting::int BETWEEN 1 AND 59999"""
"""A session that listens is idle between two test notifications."""
_WITHOUT_LISTEN = Backoff(1.0, 60.0)
"""Soon at first: for a moment before it is promoted, a server is a replica."""


class Hearing(StrEnum):
    """Whether notifications arrive."""

    LISTENING = "listening"
    LOST = "lost"
    """The connection was lost, or a test notification did not arrive."""
    DEAF = "deaf"
    """A new connection receives nothing either: usually PgBouncer in transaction mode, or a replica."""


class Heard(NamedTuple):
    """A change of `Hearing`.

    Attributes:
        reason: Why listening failed; empty if it works, or if a test notification just did not arrive.
    """

    hearing: Hearing
    reason: str = ""


class _PingLost(EmbedqError):
    """A test notification did not arrive."""


class Listener:
    """Listens on channels for as long as `run` runs.

    Args:
        settings: Where the database is.
        on_signal: Called with the payload of each notification, and with ``resync`` after every gap, in which
            some may have been missed.
        on_hearing: Called when listening fails or works again.
        channels: Channels to listen on.
        application: Shown in pg_stat_activity.
        ping_every_s: Seconds between two test notifications.
        ping_within_s: Seconds one of them may take.
    """

    def __init__(
        self,
        settings: Settings,
        on_signal: Callable[[str], None],
        on_hearing: Callable[[Heard], None],
        *,
        channels: Collection[str] = (WORK,),
        application: str = "embedq-worker listener",
        ping_every_s: float = PING_EVERY_S,
        ping_within_s: float = PING_WITHIN_S,
    ) -> None:
        self._settings = settings
        self._on_signal = on_signal
        self._on_hearing = on_hearing
        self._channels = channels
        self._application = application
        self._ping_every_s = ping_every_s
        self._ping_within_s = ping_within_s
        self._ping_channel = f"embedq_ping_{uuid4().hex}"
        self._hearing: Hearing | None = None
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Listen for ever; ends by cancellation only."""
        tries = 0
        while True:
            self._hurry.clear()
            before = self._hearing
            try:
                async with self._session() as (connection, pong, closed):
                    await self._ping_from_outside(pong, closed)
                    self._tell(Heard(Hearing.LISTENING))
                    tries = 0
                    self._on_signal("resync")
                    while True:
                        await first_of(closed, timeout_s=self._ping_every_s)
                        await self._ping(connection, pong, closed)
            except _PingLost:
                self._tell(Heard(Hearing.LOST if self._hearing is Hearing.LISTENING else Hearing.DEAF))
            except (asyncpg.FeatureNotSupportedError, asyncpg.ReadOnlySQLTransactionError) as error:
                self._tell(Heard(Hearing.DEAF, one_line(error)))  # a replica
            except EXPECTED_ERRORS as error:
                self._tell(Heard(Hearing.LOST, explained(error, self._settings).message))
            tries = tries + 1 if self._hearing is before else 0
            backoff = _WITHOUT_LISTEN if self._hearing is Hearing.DEAF else RECONNECT
            await first_of(self._hurry, timeout_s=backoff.delay_s(tries))

    def hurry(self) -> None:
        """If it does not listen, try at once: the reason may be gone, as when a replica was promoted."""
        self._hurry.set()

    def _tell(self, heard: Heard) -> None:
        if heard.hearing is not self._hearing:
            self._hearing = heard.hearing
            self._on_hearing(heard)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[tuple[DirectConnection, asyncio.Event, asyncio.Event]]:
        pong, closed = asyncio.Event(), asyncio.Event()

        def heard(_connection: object, _pid: int, channel: str, payload: object) -> None:
            if channel in self._channels:
                self._on_signal(str(payload))
            else:
                pong.set()

        async with abandoned(self._settings, self._application) as connection:
            await connection.execute(_STAY)
            for ended in (closed, pong):  # both, so that no one waits for a lost connection
                connection.add_termination_listener(lambda _, ended=ended: ended.set())
            for channel in (*self._channels, self._ping_channel):
                await connection.add_listener(channel, heard)
            yield connection, pong, closed

    async def _ping_from_outside(self, pong: asyncio.Event, closed: asyncio.Event) -> None:
        """Send a test notification from another session, as real notifications do.

        A session gets its own notifications within the response to its own statement, which even a pooler
        without support for LISTEN passes on: that would prove nothing.
        """
        async with abandoned(self._settings, self._application) as sender:
            await self._ping(sender, pong, closed)

    async def _ping(self, sender: DirectConnection, pong: asyncio.Event, closed: asyncio.Event) -> None:
        """Send a test notification, and wait until it arrives or the listening session ends."""
        pong.clear()
        lock_ms = int(self._ping_within_s * 500)  # half of the time: the server has to be first
        async with asyncio.timeout(self._ping_within_s):
            await sender.execute(_PING, self._ping_channel, str(lock_ms))
        if not closed.is_set():
            await first_of(pong, timeout_s=self._ping_within_s)
            if not pong.is_set():
                raise _PingLost("a notification did not come back")
        if closed.is_set():  # which says nothing about whether notifications would arrive
            raise ConnectionResetError("the server closed it")


async def probe_listen(connection: DirectConnection, sender: DirectConnection) -> bool:
    """Whether a notification from one session reaches another.

    Args:
        connection: The one that listens; not in a transaction.
        sender: The one that notifies; not in a transaction.

    Raises:
        asyncpg.LockNotAvailableError: Another notification is being committed, and does not get done.
    """
    heard = asyncio.Event()
    channel = f"embedq_probe_{uuid4().hex}"

    def callback(*_: object) -> None:
        heard.set()

    await connection.add_listener(channel, callback)
    try:
        async with asyncio.timeout(_PROBE_WITHIN_S):
            await sender.execute(_PING, channel, str(int(_PROBE_WITHIN_S * 500)))
            await heard.wait()
    except TimeoutError:
        return False
    finally:
        await connection.remove_listener(channel, callback)
    return True
