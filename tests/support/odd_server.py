"""An HTTP server that sends any response a test wants, and records the requests."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import h11

from tests.support.http_line import Line, Reply, receive


@dataclass(frozen=True, slots=True)
class Request:
    """A request; header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class OddServer:
    """Its address and the requests it received."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def odd_server(
    answer: Callable[[Request], Reply], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[OddServer]:
    """Run a server on a free port.

    Args:
        answer: Called for each request.
        tls: Its certificate; None for plain HTTP.
    """
    served = OddServer()
    handlers: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            with suppress(OSError, h11.RemoteProtocolError, asyncio.CancelledError):
                await _serve(served, answer, reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await server.wait_closed()


async def _serve(
    served: OddServer,
    answer: Callable[[Request], Reply],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    connection = h11.Connection(h11.SERVER)
    while (received := await receive(connection, reader)) is not None:
        head, body = received
        headers = {name.decode(): value.decode() for name, value in head.headers}
        request = Request(head.method.decode(), head.target.decode(), headers, body)
        served.requests.append(request)
        await Line(connection, writer).send(answer(request))
        if connection.our_state is not h11.DONE:
            return
        connection.start_next_cycle()
