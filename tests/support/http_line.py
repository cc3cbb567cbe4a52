"""One connection of a small HTTP/1.1 server on h11, which can break off in the middle of a response."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import h11

_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """The sending side of one connection."""

    connection: h11.Connection
    writer: asyncio.StreamWriter

    async def send(self, reply: Reply) -> None:
        """Send a complete response."""
        self._begin(reply.status, {"Content-Length": str(len(reply.body)), **reply.headers})
        self._write(h11.Data(reply.body))
        self._write(h11.EndOfMessage())
        await self.writer.drain()

    async def send_half(self, reply: Reply) -> None:
        """Announce a complete response, send half of it, and cut the connection."""
        self._begin(reply.status, {"Content-Length": str(len(reply.body))})
        self._write(h11.Data(reply.body[: len(reply.body) // 2]))
        await self.writer.drain()
        self.writer.close()

    async def send_forever(self, block: bytes, pause_s: float) -> None:
        """Send an endless response until the client disconnects."""
        self._begin(200, {"Transfer-Encoding": "chunked"})
        while not self.writer.is_closing():
            self._write(h11.Data(block))
            await self.writer.drain()
            await asyncio.sleep(pause_s)

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        pairs = [("Content-Type", "application/json"), *headers.items()]
        self._write(h11.Response(status_code=status, headers=pairs))

    def _write(self, event: h11.Event) -> None:
        self.writer.write(self.connection.send(event) or b"")


async def receive(
    connection: h11.Connection, reader: asyncio.StreamReader
) -> tuple[h11.Request, bytes] | None:
    """The next complete request; None if the client has disconnected."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return head, bytes(body)
        else:
            return None
