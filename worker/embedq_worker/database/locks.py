"""Our advisory locks; contended locks, with short timeouts: later requests queue behind one that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import asyncpg

from embedq_worker.backoff import Backoff
from embedq_worker.errors import EmbedqError

T = TypeVar("T")

LOCK_CLASS = 1_701_667_442
"""First key of all our advisory locks; sql/005_helpers lists them."""

ROWS_TRIES = 20
"""Attempts for row locks of articles; with at most half a second each, about half a minute in all."""
ROWS_PAUSE = Backoff(0.05, 1.0)


async def until_free(
    once: Callable[[], Awaitable[T]], held: EmbedqError, *, tries: int, pause: Backoff = ROWS_PAUSE
) -> T:
    """Run something that needs locks; if one is not available, release all of them and try again later.

    Args:
        once: One attempt, in its own transaction and with its own lock_timeout.
        held: Raised if the locks are never available.
        tries: Maximum number of attempts.
        pause: Delay between attempts.

    Raises:
        EmbedqError: `held`.
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    for attempt in range(tries):
        if attempt:
            await asyncio.sleep(pause.delay_s(attempt - 1))
        with suppress(asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            return await once()
    raise held
