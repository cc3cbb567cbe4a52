"""The proxy of the tests leaves nothing open, whenever it ends."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.support.tcp_proxy import TcpProxy

ENDINGS: dict[str, Callable[[TcpProxy, socket.socket], None]] = {
    "the proxy ends": lambda proxy, client: None,
    "the proxy cuts": lambda proxy, client: proxy.cut(),
    "the proxy swallows": lambda proxy, client: proxy.swallow(),
    "the proxy refuses": lambda proxy, client: setattr(proxy, "refuses", True),
    "the client closes": lambda proxy, client: client.close(),
}


@asynccontextmanager
async def echo() -> AsyncIterator[str]:
    """A server that sends back what it gets, by threads: it takes no turn of the loop.

    Yields:
        A URL as of a database.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer, suppress(ConnectionError):
                    while data := peer.recv(1_000):
                        peer.sendall(data)

        serving = asyncio.create_task(asyncio.to_thread(serve))
        try:
            yield f"postgresql://someone@127.0.0.1:{listener.getsockname()[1]}/any"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            await serving


def connected(proxy: TcpProxy) -> socket.socket:
    """A client whose bytes are on their way; the system has connected it, the proxy has not seen it."""
    client = socket.create_connection(("127.0.0.1", proxy.port))
    client.sendall(b"hello")
    return client


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("ending", ENDINGS)
async def test_what_was_just_accepted_is_closed_too(ending: str, turns: int) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with echo() as url:
            async with TcpProxy(url) as proxy:
                client = connected(proxy)
                for _ in range(turns):
                    await asyncio.sleep(0)
                ENDINGS[ending](proxy, client)
            client.close()
        gc.collect()
    assert [str(warning.message) for warning in warned] == []


async def test_bytes_go_both_ways_until_they_are_swallowed() -> None:
    loop = asyncio.get_running_loop()
    async with echo() as url, TcpProxy(url) as proxy:
        with connected(proxy) as client:
            client.setblocking(False)
            assert await loop.sock_recv(client, 100) == b"hello"
            proxy.swallow()
            await loop.sock_sendall(client, b"lost")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(loop.sock_recv(client, 100), 0.05)
            proxy.cut()
            assert await loop.sock_recv(client, 100) == b""
        assert proxy.connections == 1
