"""Ways of waiting that always end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")

_FROZEN_S = 1.0
"""Seconds by which a timeout is late if the process was stopped (SIGSTOP, a suspended machine) meanwhile."""


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


async def in_time(call: Callable[[], Awaitable[T]], within_s: float | None) -> T:
    """Make a call that must end in time; it is made again if the process was frozen when its time ran out.

    Args:
        call: Cancelled when the time runs out; it may go on where it was when it is made again.
        within_s: Seconds; None for no limit.

    Raises:
        TimeoutError: Not in that time, or frozen twice.
    """
    for _ in range(2):
        try:
            async with asyncio.timeout(within_s) as limit:
                return await call()
        except TimeoutError:
            ended_at = limit.when()
            if ended_at is None or asyncio.get_running_loop().time() < ended_at + _FROZEN_S:
                raise
    raise TimeoutError
