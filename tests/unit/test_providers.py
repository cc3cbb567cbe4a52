"""Ollama and OpenAI over real HTTP: what is sent, what comes back, connections and deadlines."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import tracemalloc
import zlib
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import psutil
import pytest

from embedq_worker.providers import open_provider
from embedq_worker.providers.base import (
    InputRejected,
    Provider,
    ProviderError,
    ProviderMisconfigured,
    ProviderUnavailable,
)
from embedq_worker.settings import Settings
from tests.support.http_line import Reply
from tests.support.odd_server import Request, odd_server
from tests.support.provider_stub import Fault, ProviderStub, stub_vector
from tests.support.waiting import until

Protocol = Literal["ollama", "openai"]
both = pytest.mark.parametrize("protocol", ["ollama", "openai"])

BOMB_BYTES = 64 * 1024 * 1024
BOMB = gzip.compress(bytes(BOMB_BYTES), 1)


@asynccontextmanager
async def opened(protocol: Protocol, url: str, **values: Any) -> AsyncIterator[Provider]:
    given: dict[str, Any] = {"ollama_base_url": url, "openai_base_url": f"{url}/v1"}
    given |= {"dimensions_wanted": 8, "model_name": "stub"}
    provider = open_provider(Settings(provider=protocol, **{**given, **values}))
    try:
        yield provider
    finally:
        await provider.aclose()


async def failure(provider: Provider, texts: list[str] | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await provider.embed(texts or ["a", "b"])
    return caught.value


def open_connections(port: int) -> int:
    found = psutil.Process().net_connections(kind="tcp")
    return sum(1 for c in found if c.raddr and c.raddr.port == port and c.status == psutil.CONN_ESTABLISHED)


# -- what is sent and what comes back


@both
async def test_a_batch_is_one_request_and_its_vectors_are_in_order(protocol: Protocol) -> None:
    texts = [f"text {number} äöü 数据库 🚀 \ud800" for number in range(50)]
    async with ProviderStub() as stub, opened(protocol, stub.base_url) as provider:
        vectors = await provider.embed(texts)
        sent = [text.replace("\ud800", "?") for text in texts]
        assert list(stub.seen.texts) == sent
        assert vectors == [stub_vector(text, 8) for text in sent]
        assert stub.seen.requests == 1
        assert provider.dimensions == 8
        assert provider.model == f"{protocol}/stub"


async def test_ollama_is_told_the_context_and_not_to_cut_texts() -> None:
    async with ProviderStub() as stub, opened("ollama", stub.base_url, context_tokens=512) as provider:
        await provider.embed(["a"])
        [payload] = stub.seen.payloads
        assert payload == {"model": "stub", "truncate": False, "options": {"num_ctx": 512}}
        assert stub.seen.authorizations[-1] == ""


async def test_openai_is_asked_for_base64_with_the_key() -> None:
    async with (
        ProviderStub() as stub,
        opened("openai", stub.base_url, openai_api_key=" sk-key\n") as provider,
    ):
        stub.faults.api_key = "sk-key"
        assert await provider.embed(["a"]) == [stub_vector("a", 8)]
        assert stub.seen.payloads[-1] == {"model": "stub", "encoding_format": "base64"}


@pytest.mark.parametrize(
    ("model", "wanted", "asked", "name"),
    [
        ("text-embedding-3-small", None, None, "openai/text-embedding-3-small"),
        ("text-embedding-3-small", 1536, 1536, "openai/text-embedding-3-small"),
        ("text-embedding-3-large", 256, 256, "openai/text-embedding-3-large@256"),
        ("openai/text-embedding-3-small", 512, 512, "openai/openai/text-embedding-3-small@512"),
        ("bge-m3", 1024, None, "openai/bge-m3"),
    ],
)
async def test_openai_is_asked_for_dimensions_only_where_a_model_can_choose(
    model: str, wanted: int | None, asked: int | None, name: str
) -> None:
    async with (
        ProviderStub(dimensions=wanted or 1536) as stub,
        opened("openai", stub.base_url, model_name=model, dimensions_wanted=wanted) as provider,
    ):
        [vector] = await provider.embed(["a"])
        assert len(vector) == (wanted or 1536)
        assert stub.seen.payloads[-1].get("dimensions") == asked
        assert provider.model == name


@pytest.mark.parametrize("encoding", ["ignore", "refuse"])
async def test_a_server_without_base64_is_spoken_to_in_numbers(encoding: Literal["ignore", "refuse"]) -> None:
    async with ProviderStub() as stub, opened("openai", stub.base_url) as provider:
        stub.faults.encoding = encoding
        for text in ("a", "b"):
            assert await provider.embed([text]) == [stub_vector(text, 8)]
        assert stub.seen.requests == (3 if encoding == "refuse" else 2)


async def test_requests_in_flight_together_all_survive_the_refusal_of_base64() -> None:
    async with ProviderStub() as stub, opened("openai", stub.base_url) as provider:
        stub.faults.encoding = "refuse"
        stub.faults.hold = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(provider.embed([str(number)])) for number in range(4)]
            await until(lambda: stub.seen.in_flight == 4)
            stub.faults.hold.set()
        assert [call.result() for call in calls] == [[stub_vector(str(number), 8)] for number in range(4)]


async def test_openai_vectors_are_put_in_the_order_of_their_index() -> None:
    async with ProviderStub() as stub, opened("openai", stub.base_url) as provider:
        stub.faults.fault = Fault.REVERSED
        assert await provider.embed(["a", "b", "c"]) == [stub_vector(text, 8) for text in "abc"]


@both
async def test_a_base_url_may_have_a_path_a_query_and_a_login(protocol: Protocol) -> None:
    def answer(request: Request) -> Reply:
        vector = [0.5] * 8
        body = {"embeddings": [vector], "data": [{"index": 0, "embedding": vector}], "version": "1"}
        return Reply(200, json.dumps(body).encode())

    async with odd_server(answer) as server:
        url = f"http://joe:p%40ss@127.0.0.1:{server.port}/proxy/v2/?api-version=7"
        async with opened(protocol, "", ollama_base_url=url, openai_base_url=url) as provider:
            await provider.check()
            assert provider.endpoint == f"{server.url}/proxy/v2"
        last = server.requests[-1]
        path = {"ollama": "/api/embed", "openai": "/embeddings"}[protocol]
        assert last.target == f"/proxy/v2{path}?api-version=7"
        assert last.headers["authorization"] == "Basic am9lOnBAc3M="


# -- connections and deadlines


@both
async def test_connections_are_used_again(protocol: Protocol) -> None:
    async with ProviderStub() as stub, opened(protocol, stub.base_url) as provider:
        for _ in range(20):
            await provider.embed(["a"])
        stub.faults.fault, stub.faults.times = Fault.STATUS, 3
        for _ in range(3):
            await failure(provider)
        await provider.embed(["a"])
        assert stub.seen.connections == 1


@both
async def test_cancelled_requests_leave_no_connection_behind(protocol: Protocol) -> None:
    async with ProviderStub() as stub, opened(protocol, stub.base_url) as provider:
        stub.faults.hold = asyncio.Event()
        calls = [asyncio.create_task(provider.embed([str(number)])) for number in range(8)]
        await until(lambda: stub.seen.in_flight == 8)
        assert open_connections(stub.port) == 8
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert all(call.cancelled() for call in calls)
        await until(lambda: open_connections(stub.port) == 0)
        stub.faults.hold = None
        assert await provider.embed(["a"]) == [stub_vector("a", 8)]


@both
async def test_the_outer_deadline_of_a_caller_is_not_taken_for_the_provider(protocol: Protocol) -> None:
    async with ProviderStub() as stub, opened(protocol, stub.base_url) as provider:
        stub.faults.hold = asyncio.Event()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await provider.embed(["a"])


@both
@pytest.mark.parametrize("fault", [Fault.NONE, Fault.TRICKLE, Fault.HUGE])
async def test_a_request_ends_at_its_deadline_however_the_server_stalls(
    protocol: Protocol, fault: Fault
) -> None:
    async with (
        ProviderStub() as stub,
        opened(
            protocol, stub.base_url, request_timeout_ms=150 if fault is not Fault.HUGE else 5_000
        ) as provider,
    ):
        stub.faults.fault = fault
        stub.faults.hold = asyncio.Event() if fault is Fault.NONE else None
        began = perf_counter()
        error = await failure(provider)
        assert perf_counter() - began < 3
        assert isinstance(error, ProviderUnavailable)
        assert error.advice
        await until(lambda: open_connections(stub.port) == 0)


@both
async def test_a_host_that_accepts_nothing_is_given_up_at_the_deadline(protocol: Protocol) -> None:
    # The connection stands in the backlog; nobody accepts it or reads from it.
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with opened(protocol, url, request_timeout_ms=150) as provider:
            assert isinstance(await failure(provider), ProviderUnavailable)


@both
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://[::1]:1", "http://no-such-host.invalid", "https://127.0.0.1:{port}"]
)
async def test_a_host_that_cannot_be_reached_is_named(protocol: Protocol, url: str) -> None:
    async with ProviderStub() as stub:
        target = url.format(port=stub.port)
        async with opened(protocol, target, request_timeout_ms=3_000) as provider:
            error = await failure(provider)
            assert isinstance(error, ProviderUnavailable)
            assert target in error.message
            assert {"ollama": "OLLAMA_BASE_URL", "openai": "OPENAI_BASE_URL"}[protocol] in error.advice


@both
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_provider_on_this_machine_is_asked_without_the_proxy(
    protocol: Protocol, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with ProviderStub() as stub:
        async with opened(protocol, f"http://{host}:{stub.port}") as provider:
            assert await provider.embed(["a"]) == [stub_vector("a", 8)]
        async with opened(protocol, "http://example.invalid") as provider:
            assert isinstance(await failure(provider), ProviderUnavailable)


@both
@pytest.mark.parametrize("proxy", ["socks5://joe:geheim@h:1", "geheim:///", "http://joe:geheim@[::1"])
async def test_a_proxy_that_cannot_be_used_is_told_where_it_is_needed(
    protocol: Protocol, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    async with ProviderStub() as stub, opened(protocol, stub.base_url) as provider:
        assert await provider.embed(["a"]) == [stub_vector("a", 8)]
    with pytest.raises(ProviderMisconfigured) as caught:
        async with opened(protocol, "http://example.invalid") as provider:
            await provider.embed(["a"])
    assert "ALL_PROXY" in str(caught.value)
    assert "geheim" not in str(caught.value)


@both
async def test_hosts_to_be_asked_without_a_proxy_that_cannot_be_read_are_told(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8,fd00::/8")
    with pytest.raises(ProviderMisconfigured) as caught:
        async with opened(protocol, "http://example.invalid"):
            pass
    assert "NO_PROXY" in str(caught.value)


@both
@pytest.mark.parametrize(
    ("scheme", "kind"), [("http", ProviderMisconfigured), ("https", ProviderUnavailable)]
)
async def test_a_proxy_that_refuses_is_not_taken_for_the_server(
    protocol: Protocol, scheme: str, kind: type[ProviderError], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with odd_server(lambda _: Reply(407, b"")) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://joe:geheim@127.0.0.1:{proxy.port}")
        async with opened(protocol, f"{scheme}://example.invalid") as provider:
            error = await failure(provider)
    assert type(error) is kind
    assert "407" in error.message
    assert "HTTP_PROXY" in error.advice
    assert "geheim" not in str(error)


@both
async def test_certificates_that_cannot_be_read_are_told(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(ProviderMisconfigured) as caught:
        async with opened(protocol, "https://127.0.0.1:1"):
            pass
    assert "SSL_CERT_FILE" in str(caught.value)


# -- broken answers


@both
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.DROP_BEFORE, ProviderUnavailable),
        (Fault.DROP_MIDDLE, ProviderUnavailable),
        (Fault.MALFORMED, ProviderUnavailable),
        (Fault.EMPTY_OBJECT, ProviderUnavailable),
        (Fault.WRONG_COUNT, ProviderUnavailable),
        (Fault.HUGE, ProviderUnavailable),
        (Fault.REDIRECT, ProviderMisconfigured),
        (Fault.WRONG_DIMENSIONS, ProviderMisconfigured),
        (Fault.NOT_FINITE, InputRejected),
    ],
)
async def test_a_broken_answer_is_told_for_what_it_is_and_the_next_request_works(
    protocol: Protocol, fault: Fault, kind: type[ProviderError]
) -> None:
    async with ProviderStub() as stub, opened(protocol, stub.base_url) as provider:
        stub.faults.fault, stub.faults.times = fault, 1
        error = await failure(provider)
        assert type(error) is kind
        assert error.advice or kind is InputRejected
        assert await provider.embed(["a"]) == [stub_vector("a", 8)]


@both
@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
async def test_what_is_compressed_although_nobody_asked_for_it_is_read(
    protocol: Protocol, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    body = json.dumps({"embeddings": [[1.0] * 8], "data": [{"index": 0, "embedding": [1.0] * 8}]}).encode()
    headers = {"Content-Encoding": encoding}
    async with (
        odd_server(lambda _: Reply(200, pack(body), headers)) as server,
        opened(protocol, server.url) as provider,
    ):
        assert await provider.embed(["a"]) == [array("f", [1.0] * 8)]


@both
@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", BOMB), ("gzip, gzip", gzip.compress(BOMB)), ("gzip", b"none"), ("br", b"\x8b\x00\x80x\x03")],
    ids=["bomb", "bomb in a bomb", "none", "unknown"],
)
async def test_a_compressed_answer_takes_no_more_memory_than_another(
    protocol: Protocol, status: int, encoding: str, body: bytes
) -> None:
    async with (
        odd_server(lambda _: Reply(status, body, {"Content-Encoding": encoding})) as server,
        opened(protocol, server.url) as provider,
    ):
        tracemalloc.start()
        try:
            error = await failure(provider)
            assert tracemalloc.get_traced_memory()[1] < BOMB_BYTES / 4
        finally:
            tracemalloc.stop()
    assert type(error) is ProviderUnavailable


ODD_BODIES = [
    b"",
    b"null",
    b"[]",
    b"<html>welcome</html>",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b"1" * 10_000,
    b'{"embeddings": null, "data": null}',
    b'{"embeddings": [null], "data": [null]}',
    b'{"embeddings": ["!"], "data": [{"index": 0, "embedding": "!"}]}',
    b'{"embeddings": ["AAA="], "data": [{"index": 0, "embedding": "AAA="}]}',
    b'{"embeddings": [{}], "data": [{"index": 0, "embedding": {}}]}',
    b'{"embeddings": [["x"]], "data": [{"index": 0, "embedding": ["x"]}]}',
    b'{"embeddings": [[[1]]], "data": [{"index": 0, "embedding": [[1]]}]}',
    b'{"embeddings": [[1' + b"0" * 400 + b']], "data": [{"index": 0, "embedding": [1' + b"0" * 400 + b"]}]}",
    b'{"embeddings": 7, "data": [{"index": "0", "embedding": [1]}]}',
    b'{"embeddings": {}, "data": [{"index": 1, "embedding": [1]}]}',
    b'{"embeddings": {}, "data": [{"embedding": [1]}]}',
]


@both
async def test_answers_that_are_no_embeddings_never_end_in_a_traceback(protocol: Protocol) -> None:
    bodies = iter(ODD_BODIES)
    async with (
        odd_server(lambda _: Reply(200, next(bodies))) as server,
        opened(protocol, server.url) as provider,
    ):
        for body in ODD_BODIES:
            error = await failure(provider, ["a"])
            assert isinstance(error, ProviderUnavailable), body
            assert server.url in error.message or provider.model in error.message
            assert "\n" not in error.message


@both
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e39", "1e400"])
async def test_a_component_that_is_no_float32_is_the_fault_of_the_text(
    protocol: Protocol, number: str
) -> None:
    vector = f"[{number}, 1, 1, 1, 1, 1, 1, 1]"
    body = f'{{"embeddings": [{vector}], "data": [{{"index": 0, "embedding": {vector}}}]}}'.encode()
    async with (
        odd_server(lambda _: Reply(200, body)) as server,
        opened(protocol, server.url) as provider,
    ):
        assert isinstance(await failure(provider, ["a"]), InputRejected)


@both
async def test_wrong_dimensions_name_the_right_ones(protocol: Protocol) -> None:
    async with (
        ProviderStub(dimensions=12) as stub,
        opened(protocol, stub.base_url, dimensions_wanted=8) as provider,
    ):
        error = await failure(provider)
        assert isinstance(error, ProviderMisconfigured)
        assert "EMBEDDING_DIMENSIONS=12" in error.advice
