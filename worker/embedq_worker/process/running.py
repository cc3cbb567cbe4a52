"""Run a coroutine as a whole program or command."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import TypeVar

from embedq_worker.process.imports import uninterrupted

T = TypeVar("T")


def run(main: Coroutine[object, object, T]) -> T:
    """Like `asyncio.run`, but Ctrl-C while the loop is being made waits until it can cancel the coroutine.

    Python would print a traceback about a loop that is half made, and complain of a coroutine never awaited.

    Args:
        main: The program.

    Returns:
        Its result.

    Raises:
        KeyboardInterrupt: Ctrl-C, after the coroutine was cancelled.
        Exception: What the coroutine raises.
    """
    with ExitStack() as deferred:
        deferred.enter_context(uninterrupted())

        async def interruptible() -> T:
            deferred.close()
            return await main

        return asyncio.run(interruptible())
