"""Answers of a provider that are broken, huge, or no embeddings."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from array import array
from collections.abc import Callable, Sequence

import pytest

from embedq_worker.providers.base import (
    InputRejected,
    ProviderError,
    ProviderMisconfigured,
    ProviderUnavailable,
)
from tests.support.failing import Protocol, both, failure, opened
from tests.support.http_line import Reply
from tests.support.odd_server import Request, odd_server
from tests.support.provider_stub import Fault, ProviderStub, stub_vector

BOMB_BYTES = 64 * 1024 * 1024
BOMB = gzip.compress(bytes(BOMB_BYTES), 1)


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
        (Fault.ZEROS, ProviderUnavailable),
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
    ("vectors", "kind"), [([[1.0] * 8] * 3, ProviderUnavailable), ([[1.0] * 8, []], InputRejected)]
)
async def test_vectors_that_do_not_fit_two_texts(
    protocol: Protocol, vectors: list[list[float]], kind: type[ProviderError]
) -> None:
    data = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    body = json.dumps({"embeddings": vectors, "data": data}).encode()
    async with (
        odd_server(lambda _: Reply(200, body)) as server,
        opened(protocol, server.url) as provider,
    ):
        assert type(await failure(provider)) is kind


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
    b'{"embeddings": {}, "data": [{"index": []}]}',
    b'{"embeddings": {}, "data": [{"index": [], "embedding": [1]}]}',
    b'{"embeddings": {}, "data": [{"index": 1, "embedding": [1]}, {"embedding": [1]}]}',
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


async def test_a_gateway_that_does_not_know_base64_is_asked_for_numbers_whatever_it_says() -> None:
    body = json.dumps({"data": [{"index": 0, "embedding": [1.0] * 8}]}).encode()

    def answer(request: Request) -> Reply:
        if b"encoding_format" in request.body:
            return Reply(400, b'{"errorCode": "PROXY_READ_ERROR"}')
        return Reply(200, body)

    async with odd_server(answer) as server, opened("openai", server.url) as provider:
        for _ in range(3):
            assert await provider.embed(["a"]) == [array("f", [1.0] * 8)]
        assert len(server.requests) == 4


@pytest.mark.parametrize("indexes", [(None, 1, 2), (None, None, None)], ids=["of 0", "all"])
async def test_an_index_may_be_left_out(indexes: Sequence[int | None]) -> None:
    data = [
        {"embedding": [float(number)] * 8} | ({} if index is None else {"index": index})
        for number, index in enumerate(indexes, 1)
    ]
    body = json.dumps({"data": data}).encode()
    async with (
        odd_server(lambda _: Reply(200, body)) as server,
        opened("openai", server.url) as provider,
    ):
        vectors = await provider.embed(["a", "b", "c"])
    assert [vector[0] for vector in vectors] == [1, 2, 3]


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
async def test_a_server_that_cannot_write_such_a_component_says_whose_fault_it_is(protocol: Protocol) -> None:
    async with ProviderStub() as stub, opened(protocol, stub.base_url) as provider:
        stub.faults.poison_vector = "spoilt"
        assert isinstance(await failure(provider, ["a", "spoilt"]), InputRejected)


@both
async def test_wrong_dimensions_name_the_right_ones(protocol: Protocol) -> None:
    async with (
        ProviderStub(dimensions=12) as stub,
        opened(protocol, stub.base_url, dimensions_wanted=8) as provider,
    ):
        error = await failure(provider)
        assert isinstance(error, ProviderMisconfigured)
        assert "EMBEDDING_DIMENSIONS=12" in error.advice
