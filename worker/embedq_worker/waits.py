"""Ways of waiting that always end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager


class Slots:
    """A semaphore, as an asynchronous context, whose size may change while slots are taken.

    Args:
        size: Number of slots.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._freed = asyncio.Event()

    def resize(self, size: int) -> None:
        """Change the number of slots; those already taken stay taken."""
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
    """Run a coroutine in the background of the block, and cancel it at the end; its errors are ignored.

    Args:
        coroutine: Usually one that runs for ever.
    """
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def first_of(event: asyncio.Event, *, timeout_s: float) -> None:
    """Wait for an event or a timeout, whichever comes first.

    Args:
        event: It is not cleared.
        timeout_s: Seconds.
    """
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
