"""Waiting for something to happen, but not for ever."""

from __future__ import annotations

import asyncio


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
