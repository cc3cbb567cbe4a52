"""Locks that others hold: waited for shortly (who comes after waits behind us) but again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import asyncpg

from embedq_worker.backoff import Backoff
from embedq_worker.errors import EmbedqError

T = TypeVar("T")

ROWS_TRIES = 20
"""For rows of articles, each of half a second at most: about half a minute in all."""
ROWS_PAUSE = Backoff(0.05, 1.0)


async def until_free(
    once: Callable[[], Awaitable[T]], held: EmbedqError, *, tries: int, pause: Backoff = ROWS_PAUSE
) -> T:
    """Do what needs locks; where others hold one, let go of all and come back.

    Args:
        once: Does it, in a transaction of its own with a lock_timeout of its own.
        held: What to raise where they are held all the time.
        tries: At most.
        pause: Between them.

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
