"""What each answer of a provider means to the queue, and what the operator is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from embedq_worker.providers.base import (
    InputRejected,
    ProviderError,
    ProviderMisconfigured,
    ProviderRateLimited,
    ProviderUnavailable,
)
from tests.support.failing import Protocol, both, check_failure, embed_failure, provider_at
from tests.support.http_line import Reply
from tests.support.odd_server import Request, odd_server
from tests.support.provider_stub import Fault, ProviderStub

NO_EMBEDDINGS = b'{"error":"this model does not support embeddings"}'


# -- the kind of failure

KINDS: list[tuple[int, dict[str, str], type[ProviderError]]] = [
    (400, {}, InputRejected),
    (401, {}, ProviderMisconfigured),
    (402, {}, ProviderMisconfigured),
    (403, {}, ProviderMisconfigured),
    (404, {}, ProviderMisconfigured),
    (405, {}, ProviderMisconfigured),
    (408, {}, ProviderUnavailable),
    (409, {}, ProviderUnavailable),
    (413, {}, InputRejected),
    (422, {}, InputRejected),
    (424, {}, ProviderUnavailable),
    (429, {}, ProviderRateLimited),
    (500, {}, ProviderUnavailable),
    (501, {}, ProviderMisconfigured),
    (502, {}, ProviderUnavailable),
    (503, {}, ProviderUnavailable),
    (503, {"Retry-After": "5"}, ProviderRateLimited),
    (504, {}, ProviderUnavailable),
    (529, {}, ProviderUnavailable),
    (204, {}, ProviderMisconfigured),
    (301, {"Location": "https://elsewhere.example/v1"}, ProviderMisconfigured),
    (301, {"Location": "https://elsewhere.example:8443/v1"}, ProviderMisconfigured),
    (308, {"Location": "/other"}, ProviderMisconfigured),
    (302, {}, ProviderMisconfigured),
    (302, {"Location": "http://[bad"}, ProviderMisconfigured),
]


@both
@pytest.mark.parametrize(("status", "headers", "kind"), KINDS)
async def test_a_status_means_one_kind_of_failure(
    protocol: Protocol, status: int, headers: dict[str, str], kind: type[ProviderError]
) -> None:
    body = b"" if status == 204 else json.dumps({"error": {"message": "the server's words"}}).encode()
    async with odd_server(lambda _: Reply(status, body, headers)) as server:
        error = await embed_failure(provider_at(protocol, server.url))
    assert type(error) is kind
    if kind is ProviderMisconfigured:
        assert error.advice
    if status >= 400:
        assert str(status) in error.message
        assert "the server's words" in error.message
    if "Location" in headers and "elsewhere" in headers["Location"]:
        assert headers["Location"].removesuffix("/v1") in error.message


@both
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": "Unexpected endpoint or method. (POST /embeddings)"}, ProviderMisconfigured),
        ({"error": {"message": "Unexpected", "code": 429}}, ProviderRateLimited),
        ({"error": {"message": "Unexpected", "code": 502}}, ProviderUnavailable),
        ({"error": {"message": "Unexpected", "code": 7}}, ProviderMisconfigured),
        ({"error": None, "hint": "Unexpected"}, ProviderUnavailable),
    ],
)
async def test_an_error_with_status_200_is_one(
    protocol: Protocol, body: object, kind: type[ProviderError]
) -> None:
    async with odd_server(lambda _: Reply(200, json.dumps(body).encode())) as server:
        error = await embed_failure(provider_at(protocol, server.url))
    assert type(error) is kind
    assert ("Unexpected" in error.message) == ("hint" not in json.dumps(body))


@pytest.mark.parametrize(
    ("protocol", "its", "another"),
    [
        ("ollama", "EMBEDDING_CONTEXT_TOKENS", "EMBEDDING_DIMENSIONS"),
        ("openai", "EMBEDDING_DIMENSIONS", "EMBEDDING_CONTEXT_TOKENS"),
    ],
)
async def test_advice_names_what_the_provider_is_asked_with(
    protocol: Protocol, its: str, another: str
) -> None:
    async with ProviderStub(dimensions=8) as stub:
        stub.faults.fault, stub.faults.status = Fault.STATUS, 400
        error = await check_failure(provider_at(protocol, stub.base_url))
    assert its in error.advice
    assert another not in error.advice


@both
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "999999999"}, 86_400.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "1e999"}, None),
        ({"Retry-After": ""}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5),
        ({"retry-after-ms": "x", "Retry-After": "2"}, 2.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 -0000", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}, 86_400.0),
        ({"Retry-After": "Wed, 99 Oct 2099 07:28:00 GMT"}, None),
        ({"Retry-After": "Wed, 21 Oct 99999999999 07:28:00 GMT"}, None),
        ({"Retry-After": "Wed, 21 Oct 2099 07:28:00 +99999999999999999"}, None),
    ],
)
async def test_how_long_to_wait_is_read_in_every_form(
    protocol: Protocol, headers: dict[str, str], seconds: float | None
) -> None:
    async with ProviderStub() as stub:
        stub.faults.fault, stub.faults.status, stub.faults.headers = Fault.STATUS, 429, headers
        error = await embed_failure(provider_at(protocol, stub.base_url))
    assert isinstance(error, ProviderRateLimited)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (429, "insufficient_quota"),
        (429, "billing_not_active"),
        (422, "budget_exceeded"),
        (400, "budget_exceeded"),
        (402, None),
        (412, None),
    ],
)
async def test_an_account_without_money_is_not_waited_for(status: int, code: str | None) -> None:
    async with ProviderStub() as stub:
        stub.faults.fault, stub.faults.status, stub.faults.code = Fault.STATUS, status, code
        error = await embed_failure(provider_at("openai", stub.base_url))
    assert isinstance(error, ProviderMisconfigured)
    assert "OPENAI_BASE_URL" not in error.advice


@both
@pytest.mark.parametrize(
    ("status", "words", "too_long"),
    [
        (400, "the input length exceeds the context length", True),
        (400, "This model's maximum context length is 8192 tokens, however you requested 9000", True),
        (413, "Payload Too Large", True),
        (413, "", True),
        (422, "`inputs` must have less than 512 tokens. Given: 600", True),
        (500, "input (600 tokens) is too large to process. increase the physical batch size", True),
        (400, "The prompt (length 5016) is longer than the maximum model length of 4096.", True),
        (400, "Too many input tokens. Max input tokens: 8192, request input token count: 9875", True),
        (400, "The input token count (9000) exceeds the maximum number of tokens allowed (2048).", True),
        (400, "Single text cannot exceed 8192 tokens. 9237 tokens given.", True),
        (429, "Request too large for m on tokens per min (TPM): Limit 40000, Requested 41000.", True),
        (429, "Limit type: tokens. Current limit: 500, Remaining: 500. Limit resets at: 12:00", True),
        (400, "Invalid 'input': input cannot be an empty string.", False),
        (422, '[{"type": "string_too_long", "msg": "String should have at most 122880 characters"}]', True),
        (422, "something else", False),
    ],
)
async def test_a_text_that_is_too_long_is_recognised(
    protocol: Protocol, status: int, words: str, too_long: bool
) -> None:
    async with ProviderStub() as stub:
        stub.faults.fault, stub.faults.status, stub.faults.message = Fault.STATUS, status, words
        error = await embed_failure(provider_at(protocol, stub.base_url))
    assert isinstance(error, InputRejected)
    assert error.too_long is too_long


@both
@pytest.mark.parametrize(
    "words",
    [
        'do embedding request: Post "http://127.0.0.1:40123/v1/embeddings": EOF',
        "error reading embed response: read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer",
        "llama-server process no longer running: -1 signal: killed",
        "connection refused",
        "server not responding",
        "unexpected server status: llm server loading model",
        'tokenize error: {"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
        "The model has crashed without additional information. (Exit code: 6)",
        "Model is unloaded.",
    ],
)
async def test_what_broke_behind_a_server_is_no_fault_of_a_text(protocol: Protocol, words: str) -> None:
    async with ProviderStub() as stub:
        stub.faults.fault, stub.faults.status, stub.faults.message = Fault.STATUS, 400, words
        error = await embed_failure(provider_at(protocol, stub.base_url))
    assert isinstance(error, ProviderUnavailable)


@both
async def test_a_server_that_takes_too_long_does_not_call_the_text_so(protocol: Protocol) -> None:
    async with ProviderStub() as stub:
        stub.faults.fault, stub.faults.message = Fault.STATUS, "the upstream took too long to answer"
        error = await embed_failure(provider_at(protocol, stub.base_url))
    assert isinstance(error, ProviderUnavailable)


async def test_the_words_of_gemini_are_told_without_the_rest() -> None:
    body = b'[{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}]'
    async with odd_server(lambda _: Reply(400, body)) as server:
        error = await embed_failure(provider_at("openai", server.url))
    assert error.message.endswith(": API key not valid.")


@both
@pytest.mark.parametrize(
    "body",
    [
        b"plain words",
        b'{"error": "plain words"}',
        b'{"error": {"message": "plain words", "code": 7}}',
        b'{"message": "plain words"}',
        b'{"detail": "plain words"}',
        b'{"detail": [{"msg": "plain words"}]}',
        b'{"error": {}, "x": "plain words"}',
        b'["plain words"]',
        b"<html>\r\n<h1>plain words\x1b[31m</h1>",
        b"plain words " + b"x" * 3_000_000,
        b'["plain words",' + b"[" * 50_000,
        b"\xff plain words",
    ],
)
async def test_the_words_of_a_server_are_told_on_one_short_clean_line(
    protocol: Protocol, body: bytes
) -> None:
    async with odd_server(lambda _: Reply(500, body)) as server:
        error = await embed_failure(provider_at(protocol, server.url))
    assert "plain words" in error.message
    assert error.message.isprintable()
    assert len(error.message) < 400


# -- the check


@both
async def test_the_check_tells_what_works(protocol: Protocol) -> None:
    async with ProviderStub() as stub:
        provider = provider_at(protocol, stub.base_url)
        report = await provider.check()
        await provider.aclose()
    assert (report.model, report.dimensions) == (f"{protocol}/stub", 8)
    assert report.seconds > 0
    assert stub.base_url in report.detail


CHECKS: list[tuple[Protocol, dict[str, Any], dict[str, Any], str]] = [
    ("openai", {"api_key": "sk-right"}, {"openai_api_key": "sk-wrong"}, "OPENAI_API_KEY"),
    ("openai", {"api_key": "sk-right"}, {}, "OPENAI_API_KEY"),
    ("ollama", {"api_key": "x"}, {}, "OLLAMA_BASE_URL"),
    ("openai", {"model": "other"}, {}, "EMBEDDING_MODEL"),
    ("ollama", {"model": "other"}, {}, "ollama pull stub"),
    ("openai", {}, {"dimensions_wanted": 9}, "EMBEDDING_DIMENSIONS=8"),
    ("ollama", {}, {"dimensions_wanted": 9}, "EMBEDDING_DIMENSIONS=8"),
    ("openai", {"poison": ""}, {"openai_base_url": "{url}"}, "/v1"),
    ("ollama", {"poison": ""}, {"ollama_base_url": "{url}/v1"}, "OLLAMA_BASE_URL"),
    ("openai", {"poison": "control"}, {}, "EMBEDDING_MODEL"),
    ("openai", {"poison": "control"}, {}, "OPENAI_API_KEY"),  # Gemini answers 400 to a wrong key
    ("ollama", {"poison": "control"}, {}, "EMBEDDING_MODEL"),
]


@pytest.mark.parametrize(("protocol", "knobs", "values", "remedy"), CHECKS)
async def test_the_check_names_the_remedy_of_every_wrong_setting(
    protocol: Protocol, knobs: dict[str, Any], values: dict[str, Any], remedy: str
) -> None:
    async with ProviderStub() as stub:
        for name, value in knobs.items():
            setattr(stub.faults, name, value)
        given = {
            name: value.format(url=stub.base_url) if isinstance(value, str) else value
            for name, value in values.items()
        }
        error = await check_failure(provider_at(protocol, stub.base_url, **given))
    assert isinstance(error, ProviderMisconfigured)
    assert remedy in error.advice


@both
@pytest.mark.parametrize(
    "reply", [Reply(200, b"<html>a web page</html>"), Reply(200, b'{"hello": "world"}'), Reply(404, b"nginx")]
)
async def test_the_check_tells_a_server_that_is_something_else(protocol: Protocol, reply: Reply) -> None:
    async with odd_server(lambda _: reply) as server:
        error = await check_failure(provider_at(protocol, server.url))
    assert server.url in error.message
    assert {"ollama": "OLLAMA_BASE_URL", "openai": "OPENAI_BASE_URL"}[protocol] in error.advice


@pytest.mark.parametrize(("status", "kind"), [(401, ProviderMisconfigured), (502, ProviderUnavailable)])
async def test_the_check_tells_what_a_gateway_before_ollama_says(
    status: int, kind: type[ProviderError]
) -> None:
    async with odd_server(lambda _: Reply(status, b"the gateway's words")) as server:
        error = await check_failure(provider_at("ollama", server.url))
    assert type(error) is kind
    assert "the gateway's words" in error.message


async def test_an_ollama_too_old_for_batches_is_not_taken_for_a_missing_model() -> None:
    def answer(request: Request) -> Reply:
        return (
            Reply(200, b'{"version":"0.1"}') if request.method == "GET" else Reply(404, b"404 page not found")
        )

    async with odd_server(answer) as server:
        error = await check_failure(provider_at("ollama", server.url))
    assert isinstance(error, ProviderMisconfigured)
    assert "pull" not in error.advice


async def test_a_chat_model_is_told_to_be_none_for_embeddings() -> None:
    async with odd_server(lambda _: Reply(500, NO_EMBEDDINGS)) as server:
        error = await embed_failure(provider_at("ollama", server.url))
    assert isinstance(error, ProviderMisconfigured)
    assert "EMBEDDING_MODEL" in error.advice
