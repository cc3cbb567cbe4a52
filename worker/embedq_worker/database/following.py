"""Looks at a database again and again, as soon as something changed, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import asyncpg

from embedq_worker.backoff import Backoff
from embedq_worker.database.connections import DirectConnection, connect
from embedq_worker.database.failures import EXPECTED_ERRORS, explained
from embedq_worker.database.notifier import CHANNEL
from embedq_worker.errors import EmbedqError
from embedq_worker.settings import Settings
from embedq_worker.waits import first_of

T = TypeVar("T")

RECONNECT = Backoff(0.2, 15.0)

DUTY = 4.0
"""A look is followed by at least this many times its duration without one."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone, or what was asked over it failed.

    Attributes:
        error: What happened.
        retry_in_s: Seconds until it is tried again.
        tries: Failures in a row, this one included.
    """

    error: EmbedqError
    retry_in_s: float
    tries: int


async def follow(
    settings: Settings,
    look: Callable[[DirectConnection], AsyncIterator[T]],
    *,
    every_s: float,
    pause_s: float,
) -> AsyncGenerator[T | Lost, None]:
    """Look at once, at every change that is told by NOTIFY, and now and then; does not end by itself.

    That "now and then" is for what nobody tells (audit rows of other programs, a pooler that swallows
    notifications), and finds a connection that is dead although it looks alive.

    Args:
        settings: Where the database is.
        look: Asks what it wants to know; gives up by itself where an answer does not come.
        every_s: Seconds from look to look while nothing is told.
        pause_s: Seconds between two looks at least, so that bursts are merged; at least 0.05, since a
            notification stands for all who commit at that moment and some of them are seen only after it.

    Yields:
        What the looks yield, and each failure.

    Raises:
        EmbedqError: The first look failed.
    """
    tries, succeeded = 0, False
    while True:
        try:
            async with _listening(settings) as (connection, news):
                told = False
                while True:
                    news.clear()
                    began = time.monotonic()
                    async for found in look(connection):
                        yield found
                    tries, succeeded = 0, True
                    await asyncio.sleep(max(pause_s, DUTY * (time.monotonic() - began)))
                    if not told:
                        await first_of(news, timeout_s=every_s)
                    # What was told is looked at twice, see `pause_s`.
                    told = news.is_set()
        except EXPECTED_ERRORS as error:
            reason = explained(error, settings)
            if not succeeded:
                raise reason from error
            lost = Lost(reason, RECONNECT.delay_s(tries), tries + 1)
        tries += 1
        yield lost
        await asyncio.sleep(lost.retry_in_s)


@asynccontextmanager
async def _listening(settings: Settings) -> AsyncIterator[tuple[DirectConnection, asyncio.Event]]:
    """A connection, and an event that is set when something was told or the connection is gone."""
    news = asyncio.Event()
    connection = await connect(settings, "embedq-tui follow")
    try:
        connection.add_termination_listener(lambda _: news.set())
        with suppress(asyncpg.FeatureNotSupportedError, asyncpg.ReadOnlySQLTransactionError):  # a replica
            await connection.add_listener(CHANNEL, lambda *_: news.set())
        yield connection, news
    finally:
        # Without its farewell: the server may be gone, and this must not wait for it.
        connection.terminate()
