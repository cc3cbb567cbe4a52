"""An embedding server that takes a given time and next to no CPU: the same vector for every text.

python -m bench.provider [SECONDS A REQUEST, SECONDS A TEXT, DIMENSIONS]: prints its port; GET /requests tells
how many embedding requests there were.
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from struct import pack

import httpx

_ROOT = Path(__file__).resolve().parents[1]

DIMENSIONS = 768
REQUEST_S = 0.050
INPUT_S = 0.001
INPUTS = 64
"""Texts per request."""


@asynccontextmanager
async def running(
    request_s: float = REQUEST_S, input_s: float = INPUT_S, dimensions: int = DIMENSIONS
) -> AsyncIterator[str]:
    """The server as a process of its own; its base URL.

    Args:
        request_s: Seconds that a request takes.
        input_s: Seconds more for each text.
        dimensions: Components per vector.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.provider", str(request_s), str(input_s), str(dimensions)),
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{int(await child.stdout.readline())}/v1"
    finally:
        child.kill()
        await child.wait()


async def requests_so_far(url: str) -> int:
    """Embedding requests that a server has had."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return int((await client.get(f"{url}/requests")).text)


class _Server:
    def __init__(self, request_s: float, input_s: float, dimensions: int) -> None:
        self._request_s = request_s
        self._input_s = input_s
        self._vector = b64encode(pack(f"<{dimensions}f", *([0.03] * dimensions)))
        self._requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                _, _, length = head.partition("content-length:")
                body = await reader.readexactly(int(length.split("\r\n")[0] or 0))
                answer = await self._embed(body) if body else str(self._requests).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _embed(self, body: bytes) -> bytes:
        self._requests += 1
        texts = len(json.loads(body)["input"])
        await asyncio.sleep(self._request_s + texts * self._input_s)
        items = (b'{"index":%d,"embedding":"%s"}' % (index, self._vector) for index in range(texts))
        return b'{"data":[' + b",".join(items) + b"]}"


async def _main() -> None:
    request_s, input_s, dimensions = map(float, sys.argv[1:] or (REQUEST_S, INPUT_S, DIMENSIONS))
    server = await asyncio.start_server(_Server(request_s, input_s, int(dimensions)).serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
