"""Run a coroutine as a whole program or command."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

from embedq_worker.process.imports import uninterrupted

T = TypeVar("T")


def run(main: Coroutine[object, object, T]) -> T:
    """Like `asyncio.run`, with two differences.

    Ctrl-C while the loop is being made waits until it can cancel the coroutine: Python would print a
    traceback about a loop that is half made, and complain of a coroutine never awaited. And the end does not
    wait for name servers.

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

        with asyncio.Runner(loop_factory=_Loop) as runner:
            return runner.run(interruptible())


class _Loop(asyncio.SelectorEventLoop):
    """Looks up names in threads of their own.

    While name servers do not answer, a lookup that was given up occupies its thread for up to a minute. In
    asyncio's pool, such threads would leave none for other work, and the process could not end before them.
    """

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """See `asyncio.loop.getaddrinfo`."""
        found: asyncio.Future[list[Any]] = self.create_future()

        def look_up() -> None:
            addresses, failure = [], None
            try:
                addresses = socket.getaddrinfo(host, port, family, type, proto, flags)
            except Exception as error:
                failure = error
            with suppress(RuntimeError):  # the loop is closed
                self.call_soon_threadsafe(settle, addresses, failure)

        def settle(addresses: list[Any], failure: Exception | None) -> None:
            if found.done():
                return
            if failure is not None:
                found.set_exception(failure)
            else:
                found.set_result(addresses)

        try:
            threading.Thread(target=look_up, name="name lookup", daemon=True).start()
        except RuntimeError:  # the system has no thread left, but the pool may have one
            return await super().getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
        return await found
