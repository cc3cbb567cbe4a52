"""Wait for conditions instead of sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], *, within_s: float = 15.0) -> None:
    """Return as soon as a condition holds.

    Args:
        condition: Cheap; asked every few milliseconds.
        within_s: Seconds to give it.

    Raises:
        TimeoutError: It did not hold in time.
    """
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the condition is another program's state
            await asyncio.sleep(0.003)
