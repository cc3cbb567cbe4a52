"""Query a database whenever something changed, and reconnect whenever the connection is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import asyncpg

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.channels import CHANGES, WORK
from embedq_worker.database.connections import RECONNECT, DirectConnection, abandoned, watch_blocker
from embedq_worker.database.failures import EXPECTED_ERRORS, explained
from embedq_worker.errors import EmbedqError
from embedq_worker.waits import beside, first_of

T = TypeVar("T")

DUTY = 4.0
"""After a query, at least this many times its duration passes before the next, to bound the load."""


@dataclass(frozen=True, slots=True)
class FailedLook:
    """The connection was lost, or a query failed.

    Attributes:
        error: What happened.
        retry_in_s: Seconds until the next attempt.
    """

    error: EmbedqError
    retry_in_s: float


async def follow(
    settings: Settings,
    look: Callable[[DirectConnection], AsyncIterator[T]],
    *,
    every_s: float,
    pause_s: float,
) -> AsyncGenerator[T | FailedLook, None]:
    """Query at once, after every NOTIFY, and at a slow interval; never ends by itself.

    The interval covers changes that nobody notifies about (audit rows of other programs, a pooler that drops
    notifications), and reveals a connection that is dead although it looks alive.

    Args:
        settings: Where the database is.
        look: Runs the queries and yields what it finds; must have timeouts of its own.
        every_s: Seconds between two queries without a notification.
        pause_s: Minimum of seconds between two queries, which merges bursts; at least 0.05, because several
            transactions may commit at the moment of one notification, some visible only a little later.

    Yields:
        What `look` yields, and each failure.

    Raises:
        EmbedqError: The first query failed.
    """
    tries, succeeded = 0, False
    while True:
        try:
            async with (
                abandoned(settings, "embedq-tui follow") as connection,
                beside(watch_blocker(connection, settings)),
            ):
                news, told, listens = asyncio.Event(), False, False
                connection.add_termination_listener(lambda _, news=news: news.set())
                while True:
                    news.clear()
                    listens = listens or await _listen(connection, news)
                    began = time.monotonic()
                    async for found in look(connection):
                        yield found
                    tries, succeeded = 0, True
                    await asyncio.sleep(max(pause_s, DUTY * (time.monotonic() - began)))
                    if not told:
                        await first_of(news, timeout_s=every_s)
                    # After a notification there are two queries, see `pause_s`.
                    told = news.is_set()
        except EXPECTED_ERRORS as error:
            reason = explained(error, settings)
            if not succeeded:
                raise reason from error
            lost = FailedLook(reason, RECONNECT.delay_s(tries))
        tries += 1
        yield lost
        await asyncio.sleep(lost.retry_in_s)


async def _listen(connection: DirectConnection, news: asyncio.Event) -> bool:
    """Have notifications set an event.

    Returns:
        Whether that is settled: on a replica it must be tried again, until it is promoted.
    """
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        return False
    with suppress(asyncpg.FeatureNotSupportedError):
        for channel in (WORK, CHANGES):
            await connection.add_listener(channel, lambda *_: news.set())
    return True
