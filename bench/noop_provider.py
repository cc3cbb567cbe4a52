"""A provider that does nothing: every text gets the same vector, at once. Speaks OpenAI's protocol.

``python -m bench.noop_provider DIMENSIONS`` prints its port and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from base64 import b64encode


class NoopProvider:
    """Answers requests.

    Args:
        dimensions: Components per vector.
    """

    def __init__(self, dimensions: int) -> None:
        self._vector = b64encode(struct.pack(f"<{dimensions}f", *[dimensions**-0.5] * dimensions)).decode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it ends."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                )
                writer.write(self._answer(await reader.readexactly(length)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, body: bytes) -> bytes:
        texts = len(json.loads(body)["input"])
        data = [{"object": "embedding", "index": n, "embedding": self._vector} for n in range(texts)]
        answer = json.dumps({"object": "list", "data": data}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
        return head.encode() + answer


async def main(dimensions: int) -> None:
    """Serve until standard input ends."""
    server = await asyncio.start_server(NoopProvider(dimensions).serve, "127.0.0.1", 0, limit=2**24)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
