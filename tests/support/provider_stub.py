"""A real HTTP server that speaks the protocols of Ollama and OpenAI, and misbehaves on demand.

Vectors are computed from the text alone, so that a test can recompute them with `stub_vector`.

    async with ProviderStub(dimensions=8) as stub:
        settings = Settings(provider="openai", openai_base_url=stub.openai_url, dimensions_wanted=8)
        stub.faults.fault = Fault.STATUS
        stub.faults.times = 2

As a process, for tests that spawn workers: ``python -m tests.support.provider_stub --dimensions 8`` prints
the port as its first line and runs until it gets SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import struct
from array import array
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from types import TracebackType
from typing import Any, Self

import h11

from tests.support.http_line import Line, Reply, receive
from tests.support.provider_faults import Counters, Fault, Faults

__all__ = ["Counters", "Fault", "Faults", "ProviderStub", "stub_vector"]

_HUGE_BLOCK = b" " * 1_048_576
_TRICKLE_S = 0.02


def stub_vector(text: str, dimensions: int) -> array[float]:
    """The vector the stub answers for a text.

    Args:
        text: Any text.
        dimensions: Requested dimensions.

    Returns:
        Float32 components in [-1, 1), each a multiple of 1/32768: they survive JSON and base64 unchanged.
    """
    data = text.encode("utf-8", "replace")
    numbers: list[int] = []
    for block in count():
        if len(numbers) >= dimensions:
            break
        numbers += struct.unpack("<16h", sha256(data + block.to_bytes(4, "little")).digest())
    return array("f", [number / 32_768 for number in numbers[:dimensions]])


class ProviderStub:
    """The server; an async context manager.

    Args:
        dimensions: Components per vector.
        faults: Knobs to begin with.
        port: TCP port on the loopback interface; 0 for a free one.
    """

    def __init__(self, *, dimensions: int = 8, faults: Faults | None = None, port: int = 0) -> None:
        self.dimensions = dimensions
        self.faults = faults or Faults()
        self.seen = Counters()
        self.port = port
        self._cached: set[tuple[str, ...]] = set()
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()

    @property
    def base_url(self) -> str:
        """For OLLAMA_BASE_URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        """For OPENAI_BASE_URL."""
        return f"{self.base_url}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Refuse connections and cut those that are open; entering it again starts on the same port."""
        if self._server is None:
            return
        # A connection that asyncio has accepted, but not yet given to the server, would stay open for ever.
        for listening in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(3):
            await asyncio.sleep(0)
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
        for _ in range(3):  # for handlers that had not begun, and for what closes behind them
            await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._server is None or not self._server.is_serving():
            writer.close()
            return
        self._handlers.add(task)
        self.seen.connections += 1
        try:
            # A connection cut by either side is what many tests are about.
            with suppress(ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._handlers.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while (received := await receive(connection, reader)) is not None:
            head, body = received
            await self._answer(Line(connection, writer), head, body)
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _answer(self, line: Line, head: h11.Request, body: bytes) -> None:
        match head.method, head.target.split(b"?")[0]:
            case b"POST", b"/api/embed":
                await self._embed(line, _asked(head, body, openai=False))
            case b"POST", b"/v1/embeddings":
                await self._embed(line, _asked(head, body, openai=True))
            case b"GET", b"/api/version":
                await line.send(Reply(200, b'{"version":"0.0.0-stub"}'))
            case _:
                await line.send(Reply(404, b"404 page not found"))

    async def _embed(self, line: Line, asked: _Asked) -> None:
        self._count(asked)
        self.seen.in_flight += 1
        self.seen.max_in_flight = max(self.seen.max_in_flight, self.seen.in_flight)
        try:
            await self._delay(asked.texts)
            if self.faults.caches and tuple(asked.texts) in self._cached:
                await self._comply(line, asked, Fault.NONE)
            elif refusal := self._refusal(asked):
                await line.send(refusal)
            else:
                await self._comply(line, asked, self._fault_of_this_request())
        finally:
            self.seen.in_flight -= 1

    def _count(self, asked: _Asked) -> None:
        self.seen.requests += 1
        self.seen.inputs += len(asked.texts)
        self.seen.texts.extend(asked.texts)
        self.seen.sizes.append(len(asked.texts))
        self.seen.payloads.append(asked.options)
        self.seen.authorizations.append(asked.authorization)

    async def _delay(self, texts: Sequence[str]) -> None:
        if self.faults.hold is not None:
            await self.faults.hold.wait()
        if self.faults.slow and any(self.faults.slow in text for text in texts):
            await asyncio.Event().wait()
        seconds = self.faults.latency_s + len(texts) * self.faults.latency_per_input_s
        if seconds:
            await asyncio.sleep(seconds)

    def _fault_of_this_request(self) -> Fault:
        faults = self.faults
        if faults.fault is Fault.NONE or faults.times == 0 or self.seen.requests % faults.every:
            return Fault.NONE
        if faults.times is not None:
            faults.times -= 1
        return faults.fault

    def _refusal(self, asked: _Asked) -> Reply | None:
        faults, model = self.faults, asked.options.get("model")
        longest = max(map(len, asked.texts), default=0)
        if faults.api_key and asked.authorization != f"Bearer {faults.api_key}":
            given = asked.authorization.removeprefix("Bearer ")
            return asked.error(401, f"Incorrect API key provided: {given}.", "invalid_api_key")
        if faults.model and model != faults.model:
            return asked.error(404, f'model "{model}" not found, try pulling it first', "model_not_found")
        if faults.encoding == "refuse" and asked.options.get("encoding_format") == "base64":
            return asked.error(faults.encoding_status, "encoding_format: base64 is not supported", None)
        if faults.max_inputs and len(asked.texts) > faults.max_inputs:
            return asked.error(faults.max_inputs_status, f"request too large: > {faults.max_inputs}", None)
        if faults.poison and any(faults.poison in text for text in asked.texts):
            return asked.error(faults.poison_status, "'$.input' is invalid", "invalid_value")
        if faults.crash and any(faults.crash in text for text in asked.texts):
            return asked.error(500, "llama runner process has terminated", None)
        if faults.max_characters and longest > faults.max_characters:
            return asked.error(400, _TOO_LONG[asked.openai].format(faults.max_characters, longest), None)
        if not asked.openai and self._spoilt(asked.texts):
            return asked.error(500, "failed to encode response: json: unsupported value: NaN", None)
        return None

    def _spoilt(self, texts: Sequence[str]) -> list[str]:
        marker = self.faults.poison_vector
        return [text for text in texts if marker and marker in text]

    async def _comply(self, line: Line, asked: _Asked, fault: Fault) -> None:
        reply = Reply(200, asked.body(self._vectors(asked, fault), fault, self.faults.encoding))
        match fault:
            case Fault.STATUS:
                await line.send(self._status(asked))
            case Fault.REDIRECT:
                await line.send(Reply(307, b"", {"Location": "http://elsewhere.example/v1/embeddings"}))
            case Fault.DROP_BEFORE:
                line.writer.transport.abort()
            case Fault.DROP_MIDDLE:
                await line.send_half(reply)
            case Fault.MALFORMED:
                await line.send(Reply(200, reply.body[:-2]))
            case Fault.EMPTY_OBJECT:
                await line.send(Reply(200, b"{}"))
            case Fault.HUGE:
                await line.send_forever(_HUGE_BLOCK, 0)
            case Fault.TRICKLE:
                await line.send_forever(b" ", _TRICKLE_S)
            case _:
                self._cached.add(tuple(asked.texts))
                await line.send(reply)

    def _status(self, asked: _Asked) -> Reply:
        faults = self.faults
        reply = asked.error(faults.status, faults.message, faults.code)
        body = reply.body if faults.body is None else faults.body.encode()
        return Reply(faults.status, body, faults.headers)

    def _vectors(self, asked: _Asked, fault: Fault) -> list[array[float]]:
        dimensions = asked.options.get("dimensions", self.dimensions) + (fault is Fault.WRONG_DIMENSIONS)
        vectors = [stub_vector(text, dimensions) for text in asked.texts]
        for text, vector in zip(asked.texts, vectors, strict=True):
            if self._spoilt([text]) or fault is Fault.NOT_FINITE:
                vector[0] = float("nan")
            if fault is Fault.ZEROS:
                vector[:] = array("f", bytes(4 * dimensions))
        return vectors[:-1] if fault is Fault.WRONG_COUNT else vectors


_TOO_LONG = {
    False: "the input length exceeds the context length",
    True: "This model's maximum context length is {} tokens, however you requested {} tokens",
}
"""By whether it is OpenAI: how servers say that a text is too long."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One embedding request and how its protocol words an answer."""

    openai: bool
    authorization: str
    texts: list[str]
    options: dict[str, Any]

    def error(self, status: int, message: str, code: str | None) -> Reply:
        """An error in the format of the protocol."""
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        return Reply(status, json.dumps({"error": error if self.openai else message}).encode())

    def body(self, vectors: Sequence[array[float]], fault: Fault, encoding: str) -> bytes:
        """The response with these vectors."""
        if not self.openai:
            return json.dumps({"embeddings": [list(vector) for vector in vectors]}).encode()
        encoded = encoding == "obey" and self.options.get("encoding_format") == "base64"
        shift = 1 if fault is Fault.WRONG_INDEXES else 0
        data = [
            {"object": "embedding", "index": index + shift, "embedding": _written(vector, encoded)}
            for index, vector in enumerate(vectors)
        ]
        return json.dumps({"object": "list", "data": data[:: -1 if fault is Fault.REVERSED else 1]}).encode()


def _written(vector: array[float], encoded: bool) -> str | list[float]:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if encoded else list(vector)


def _asked(head: h11.Request, body: bytes, *, openai: bool) -> _Asked:
    options = json.loads(body)
    headers = dict(head.headers)
    return _Asked(openai, headers.get(b"authorization", b"").decode(), options.pop("input"), options)


async def _run(arguments: argparse.Namespace) -> None:
    faults = Faults(
        fault=Fault(arguments.fault),
        times=arguments.times,
        every=arguments.every,
        status=arguments.status,
        headers={} if arguments.retry_after is None else {"Retry-After": arguments.retry_after},
        latency_s=arguments.latency_ms / 1000,
        latency_per_input_s=arguments.latency_per_input_ms / 1000,
        poison=arguments.poison,
        max_characters=arguments.max_characters,
        api_key=arguments.api_key,
        model=arguments.model,
        max_inputs=arguments.max_inputs,
    )
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with ProviderStub(dimensions=arguments.dimensions, faults=faults, port=arguments.port) as stub:
        print(stub.port, flush=True)
        await ended.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="provider_stub", description="Embedding provider for tests.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--dimensions", type=int, default=8)
    parser.add_argument("--fault", choices=[fault.value for fault in Fault], default="none")
    parser.add_argument("--times", type=int)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--status", type=int, default=500)
    parser.add_argument("--retry-after")
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--latency-per-input-ms", type=float, default=0)
    parser.add_argument("--poison", default="")
    parser.add_argument("--max-characters", type=int, default=0)
    parser.add_argument("--api-key", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--max-inputs", type=int, default=0)
    return parser


if __name__ == "__main__":
    asyncio.run(_run(_parser().parse_args()))
