"""Ollama and OpenAI over real HTTP: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
import json
from typing import Literal

import pytest

from embedq_worker.providers.base import (
    InputRejected,
    ProviderError,
    ProviderRateLimited,
    ProviderUnavailable,
)
from tests.support.failing import Protocol, both, failure, opened, provider_at
from tests.support.http_line import Reply
from tests.support.odd_server import Request, odd_server
from tests.support.provider_stub import Fault, ProviderStub, stub_vector
from tests.support.waiting import until


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


async def test_base64_is_given_up_only_for_numbers_that_are_taken() -> None:
    async with ProviderStub() as stub, opened("openai", stub.base_url) as provider:
        stub.faults.poison = "bad"
        assert isinstance(await failure(provider, ["bad"]), InputRejected)
        await provider.embed(["a"])
        assert stub.seen.payloads[-1]["encoding_format"] == "base64"
        before = stub.seen.requests
        assert isinstance(await failure(provider, ["bad"]), InputRejected)
        assert stub.seen.requests == before + 1  # it took base64, so the text is at fault


@pytest.mark.parametrize(("status", "kind"), [(503, ProviderUnavailable), (429, ProviderRateLimited)])
async def test_a_refusal_of_base64_hides_no_failure(status: int, kind: type[ProviderError]) -> None:
    async with ProviderStub() as stub, opened("openai", stub.base_url) as provider:
        stub.faults.encoding, stub.faults.fault, stub.faults.status = "refuse", Fault.STATUS, status
        assert type(await failure(provider)) is kind


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


async def test_a_key_goes_before_a_login() -> None:
    async with ProviderStub() as stub:
        url = stub.base_url.replace("://", "://joe:secret@")
        async with opened("openai", url, openai_api_key="sk-key") as provider:
            await provider.embed(["a"])
        assert stub.seen.authorizations[-1] == "Bearer sk-key"


@both
def test_what_a_request_may_hold_follows_the_settings(protocol: Protocol) -> None:
    limits = provider_at(protocol, "http://localhost", request_inputs=4, context_tokens=512).limits
    assert limits.inputs == 4
    assert limits.tokens >= 4 * 512 if protocol == "ollama" else limits.tokens == 300_000
