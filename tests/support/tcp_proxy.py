"""A TCP proxy in front of PostgreSQL that loses bytes on demand, as networks and poolers do."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_NOTIFICATION = b"A"


class TcpProxy:
    """The proxy; an async context manager.

    Args:
        url: Of the database behind it.
        deaf: Notifications of the server never reach the client, as behind a transaction-pooling PgBouncer.

    Attributes:
        connections: Accepted so far.
        refuses: New connections are ended at once.
    """

    def __init__(self, url: str, *, deaf: bool = False) -> None:
        self._target = urlsplit(url)
        self._deaf = deaf
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self._writers: dict[asyncio.StreamWriter, bool] = {}
        self.connections = 0
        self.refuses = False
        self._ended = False

    def cut(self) -> None:
        """End the connections that are open."""
        for handler in self._handlers:
            handler.cancel()

    @property
    def url(self) -> str:
        """Of the database, by way of the proxy."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        user = self._target.username
        return self._target._replace(netloc=f"{user}@127.0.0.1:{port}", query="sslmode=disable").geturl()

    def swallow(self) -> None:
        """From now on no byte gets through the connections that are open; nobody is told."""
        self._writers = dict.fromkeys(self._writers, True)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self.refuses = self._ended = True  # those that were accepted and whose handler has not begun
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()
        # asyncio still makes transports of what was accepted last, and tells nobody of them.
        await asyncio.sleep(0.1)
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self.refuses:
            writer.close()
            return
        self._handlers.add(task)
        self.connections += 1
        behind: asyncio.StreamWriter | None = None
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                answers, behind = await asyncio.open_connection(self._target.hostname, self._target.port)
                self._writers |= {writer: False, behind: False}
                await self._both(self._bytes(reader, behind), self._messages(answers, writer))
        finally:
            self._handlers.discard(task)
            for end in (writer, behind):
                if end is not None:
                    self._writers.pop(end, None)
                    # What the other side does not take would keep it open beyond the end of the test.
                    (end.transport.abort if self._ended else end.close)()

    async def _both(self, *ways: Coroutine[None, None, None]) -> None:
        """Run until one of two ways ends."""
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _bytes(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._pass(data, writer)

    async def _messages(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readexactly(5)
            (length,) = struct.unpack(">i", head[1:])
            body = await reader.readexactly(length - 4)
            if not (self._deaf and head[:1] == _NOTIFICATION):
                await self._pass(head + body, writer)

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if not self._writers[writer]:
            writer.write(data)
            await writer.drain()
