"""Waiting for something to happen, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager


class Slots:
    """Room for so many at once, as an asynchronous context; the number may change while they are in it.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._freed = asyncio.Event()

    def resize(self, size: int) -> None:
        """Make room for more or fewer; who is in stays in."""
        self._size = size
        self._freed.set()

    async def __aenter__(self) -> None:
        while self._taken >= self._size:
            self._freed.clear()
            await self._freed.wait()
        self._taken += 1

    async def __aexit__(self, *_: object) -> None:
        self._taken -= 1
        self._freed.set()


@asynccontextmanager
async def beside(coroutine: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Let something run beside the block, which ends it; how it ends is its own affair.

    Args:
        coroutine: Most run for ever.
    """
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def first_of(event: asyncio.Event, *, timeout_s: float) -> None:
    """Wait for an event, or for the time to pass.

    Args:
        event: Left as it is.
        timeout_s: Seconds.
    """
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
