"""A TCP proxy in front of PostgreSQL that loses bytes on demand, as networks and poolers do.

It works on sockets, without asyncio's servers and transports: between the accepting of a connection and the
call of its handler those hold what nobody can end or await, and a later test finds it open.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_NOTIFICATION = b"A"
_READY = b"Z"
_KEY = b"K"
_MADE_UP = b"\x7f\xff\xff\xff"
"""What a pooler gives as the ID of a server process, with the key to cancel its statements."""
_HEAD = struct.Struct(">cI")
"""Of a message of the server: its kind, and its length without the kind."""


class TcpProxy:
    """The proxy; an async context manager.

    Args:
        url: Of the database behind it.
        deaf: Notifications reach the client only inside the answer to a statement of its own, and the ID of
            its server process is made up, as behind a transaction-pooling PgBouncer.

    Attributes:
        connections: Accepted so far.
        refuses: New connections are ended at once.
        refused: So many were.
        delay_s: Seconds that whatever is passed on is held back.
        halves: Of what comes next on each connection a half is passed on, and then the connection is cut.
    """

    def __init__(self, url: str, *, deaf: bool = False) -> None:
        self._target = urlsplit(url)
        self._deaf = deaf
        self._listener = socket.socket()
        self._served: dict[socket.socket, asyncio.Task[None]] = {}
        self._swallowed: set[socket.socket] = set()
        self.connections = 0
        self.refuses = False
        self.refused = 0
        self.delay_s = 0.0
        self.halves = False

    @property
    def port(self) -> int:
        """Its port."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Of the database, by way of the proxy."""
        user = self._target.username
        return self._target._replace(netloc=f"{user}@127.0.0.1:{self.port}", query="sslmode=disable").geturl()

    def cut(self) -> None:
        """Close the open connections."""
        for task in self._served.values():
            task.cancel()

    def swallow(self) -> None:
        """From now on no byte gets through the connections that are open; nobody is told."""
        self._swallowed.update(self._served)

    async def __aenter__(self) -> Self:
        self._listener.setblocking(False)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        asyncio.get_running_loop().add_reader(self._listener, self._accept)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()  # the system ends what waits in its queue
        self.cut()
        await asyncio.gather(*self._served.values(), return_exceptions=True)

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):
            client, _ = self._listener.accept()
            if self.refuses:
                client.close()
                self.refused += 1
                return
            self.connections += 1
            task = asyncio.ensure_future(self._serve(client))
            self._served[client] = task
            # Not in the task itself: one that is cancelled before it began runs no line of it.
            task.add_done_callback(lambda _: self._close(client))

    def _close(self, client: socket.socket) -> None:
        client.close()
        self._swallowed.discard(client)
        del self._served[client]

    async def _serve(self, client: socket.socket) -> None:
        with suppress(ConnectionError), socket.socket() as server:
            for end in (client, server):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            address = (self._target.hostname, self._target.port)
            await asyncio.get_running_loop().sock_connect(server, address)
            answers = self._messages(client, server) if self._deaf else self._bytes(client, server, client)
            await _until_one_ends(self._bytes(client, client, server), answers)
            if client in self._swallowed:
                await asyncio.Event().wait()

    async def _bytes(self, client: socket.socket, source: socket.socket, target: socket.socket) -> None:
        while data := await asyncio.get_running_loop().sock_recv(source, 65_536):
            await self._pass(client, data, target)

    async def _messages(self, client: socket.socket, server: socket.socket) -> None:
        """Pass whole messages of the server, but for notifications between two answers."""
        received = bytearray()
        before = _READY
        while data := await asyncio.get_running_loop().sock_recv(server, 65_536):
            received += data
            while len(received) >= _HEAD.size:
                kind, length = _HEAD.unpack_from(received)
                if len(received) < length + 1:
                    break
                if kind == _KEY:
                    received[5:9] = _MADE_UP
                if kind != _NOTIFICATION or before != _READY:
                    await self._pass(client, bytes(received[: length + 1]), client)
                    before = kind
                del received[: length + 1]

    async def _pass(self, client: socket.socket, data: bytes, target: socket.socket) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if client in self._swallowed:
            return
        if self.halves:
            await asyncio.get_running_loop().sock_sendall(target, data[: len(data) // 2])
            raise ConnectionAbortedError
        await asyncio.get_running_loop().sock_sendall(target, data)


async def _until_one_ends(*ways: Coroutine[None, None, None]) -> None:
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
