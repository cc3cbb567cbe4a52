"""Wakes a worker by LISTEN, and notices when the connection that listens is dead although it looks alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from embedq_worker.backoff import Backoff
from embedq_worker.database import EXPECTED_ERRORS, DirectConnection, connect, explained
from embedq_worker.errors import EmbedqError
from embedq_worker.logs import Log
from embedq_worker.settings import Settings
from embedq_worker.waits import first_of

CHANNEL = "embedq_work"
PING_EVERY_S = 20.0
PING_WITHIN_S = 5.0
_RECONNECT = Backoff(0.2, 15.0)
_WITHOUT_LISTEN_S = 60.0


class _PingLost(EmbedqError):
    """A notification to ourselves did not arrive."""


class Listener:
    """Listens on `CHANNEL` for as long as `run` runs.

    Args:
        settings: Where the database is.
        worker: Names the channel of the heartbeat.
        on_signal: Called with the payload of each signal, and with ``resync`` after every gap: something may
            have been missed.
        log: For what an operator should know.
        ping_every_s: Seconds between two notifications to ourselves.
        ping_within_s: Seconds one may take.
    """

    def __init__(
        self,
        settings: Settings,
        worker: UUID,
        on_signal: Callable[[str], None],
        log: Log,
        *,
        ping_every_s: float = PING_EVERY_S,
        ping_within_s: float = PING_WITHIN_S,
    ) -> None:
        self._settings = settings
        self._ping_every_s = ping_every_s
        self._ping_within_s = ping_within_s
        self._ping_channel = f"embedq_ping_{worker.hex}"
        self._on_signal = on_signal
        self._log = log
        self._lost_at_once = 0

    async def run(self) -> None:
        """Listen for ever; ends by cancellation only."""
        tries = 0
        while True:
            try:
                async with self._session() as (connection, pong, closed):
                    await self._ping(connection, pong)
                    if tries:
                        self._log.info("listening again")
                    tries = self._lost_at_once = 0
                    self._on_signal("resync")
                    while True:
                        await first_of(closed, timeout_s=self._ping_every_s)
                        await self._ping(connection, pong)
            except _PingLost:
                tries += 1
                await asyncio.sleep(self._wait_s(tries))
            except EXPECTED_ERRORS as error:
                tries += 1
                if tries == 1:
                    self._log.warning(
                        "the listening connection was lost", error=explained(error, self._settings).message
                    )
                await asyncio.sleep(_RECONNECT.delay_s(tries))

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[tuple[DirectConnection, asyncio.Event, asyncio.Event]]:
        pong, closed = asyncio.Event(), asyncio.Event()

        def heard(_connection: object, _pid: int, channel: str, payload: object) -> None:
            if channel == CHANNEL:
                self._on_signal(str(payload))
            else:
                pong.set()

        connection = await connect(self._settings, "embedq-worker listener")
        connection.add_termination_listener(lambda _: closed.set())
        try:
            await connection.add_listener(CHANNEL, heard)
            await connection.add_listener(self._ping_channel, heard)
            yield connection, pong, closed
        finally:
            # Without its farewell: the server may be gone, and this must not wait for it.
            connection.terminate()

    async def _ping(self, connection: DirectConnection, pong: asyncio.Event) -> None:
        """Send a notification through the session that has to hear it."""
        pong.clear()
        try:
            async with asyncio.timeout(self._ping_within_s):
                await connection.execute("SELECT pg_notify($1, '')", self._ping_channel)
                await pong.wait()
        except TimeoutError:
            raise _PingLost("a notification did not come back") from None

    def _wait_s(self, tries: int) -> float:
        self._lost_at_once += 1
        if self._lost_at_once == 1:
            self._log.warning("a notification to ourselves did not come back: listening anew")
            return _RECONNECT.delay_s(tries)
        if self._lost_at_once == 2:
            self._log.warning(
                "LISTEN does not work through this connection (a transaction-pooling PgBouncer?)",
                advice="the worker polls instead; give it a direct connection to be woken in milliseconds",
                poll_ms=self._settings.worker_interval_ms,
            )
        return _WITHOUT_LISTEN_S


async def probe_listen(connection: asyncpg.Connection[asyncpg.Record], *, within_s: float = 2.0) -> bool:
    """Whether a notification sent through a session comes back to it.

    Args:
        connection: Not in a transaction.
        within_s: Seconds to give it.
    """
    heard = asyncio.Event()
    channel = f"embedq_probe_{id(heard):x}"
    callback = lambda *_: heard.set()  # noqa: E731 - the same object has to be removed again
    await connection.add_listener(channel, callback)
    try:
        async with asyncio.timeout(within_s):
            await connection.execute("SELECT pg_notify($1, '')", channel)
            await heard.wait()
    except TimeoutError:
        return False
    finally:
        await connection.remove_listener(channel, callback)
    return True
