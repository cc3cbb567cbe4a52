"""What each answer of a provider means to the queue, what the operator is told, and what nobody may see."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedq_worker.providers import open_provider
from embedq_worker.providers.base import (
    InputRejected,
    Provider,
    ProviderError,
    ProviderMisconfigured,
    ProviderRateLimited,
    ProviderUnavailable,
)
from embedq_worker.providers.scrubbing import Scrubber
from embedq_worker.settings import Settings
from tests.support.http_line import Reply
from tests.support.odd_server import Request, odd_server
from tests.support.provider_stub import Fault, ProviderStub

Protocol = Literal["ollama", "openai"]
Answerer: TypeAlias = Callable[[Request], Reply]
both = pytest.mark.parametrize("protocol", ["ollama", "openai"])
NO_EMBEDDINGS = b'{"error":"this model does not support embeddings"}'


def provider_at(protocol: Protocol, url: str, **values: Any) -> Provider:
    given: dict[str, Any] = {"ollama_base_url": url, "openai_base_url": f"{url}/v1"}
    given |= {"dimensions_wanted": 8, "model_name": "stub"}
    return open_provider(Settings(provider=protocol, **{**given, **values}))


async def embed_failure(provider: Provider) -> ProviderError:
    try:
        with pytest.raises(ProviderError) as caught:
            await provider.embed(["a"])
    finally:
        await provider.aclose()
    return caught.value


async def check_failure(provider: Provider) -> ProviderError:
    try:
        with pytest.raises(ProviderError) as caught:
            await provider.check()
    finally:
        await provider.aclose()
    return caught.value


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
    (429, {}, ProviderRateLimited),
    (500, {}, ProviderUnavailable),
    (502, {}, ProviderUnavailable),
    (503, {}, ProviderUnavailable),
    (503, {"Retry-After": "5"}, ProviderRateLimited),
    (504, {}, ProviderUnavailable),
    (529, {}, ProviderUnavailable),
    (204, {}, ProviderMisconfigured),
    (301, {"Location": "https://elsewhere.example/v1"}, ProviderMisconfigured),
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
        assert "elsewhere.example" in error.message


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
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "999999999"}, 86_400.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "1e999"}, None),
        ({"Retry-After": ""}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5),
        ({"retry-after-ms": "x", "Retry-After": "2"}, 2.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}, 86_400.0),
        ({"Retry-After": "Wed, 99 Oct 2099 07:28:00 GMT"}, None),
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


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_not_active"])
async def test_an_account_without_money_is_not_waited_for(code: str) -> None:
    async with ProviderStub() as stub:
        stub.faults.fault, stub.faults.status, stub.faults.code = Fault.STATUS, 429, code
        error = await embed_failure(provider_at("openai", stub.base_url))
    assert isinstance(error, ProviderMisconfigured)
    assert error.advice


@both
@pytest.mark.parametrize(
    ("status", "words", "too_long"),
    [
        (400, "the input length exceeds the context length", True),
        (400, "This model's maximum context length is 8192 tokens, however you requested 9000", True),
        (413, "Payload Too Large", True),
        (422, "`inputs` must have less than 512 tokens. Given: 600", True),
        (500, "input (600 tokens) is too large to process. increase the physical batch size", True),
        (400, "Invalid 'input': input cannot be an empty string.", False),
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
    ("openai", {"poison": "check"}, {}, "EMBEDDING_MODEL"),
    ("ollama", {"poison": "check"}, {}, "EMBEDDING_MODEL"),
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


# -- secrets

KEY = 'sk-proj-"quoted"&<geheim>/+=\\'
PASSWORD = "ge heim/ü"  # as it is when decoded
LOGINS = {
    "password": "http://joe:ge%20heim%2F%C3%BC@127.0.0.1:{port}",
    "short": "http://joe:pw@127.0.0.1:{port}",
    "token": "http://geheim-token@127.0.0.1:{port}",
    "query": "http://127.0.0.1:{port}?api_key=gehe1m",
    "both": "http://joe:pw@127.0.0.1:{port}?sig=gehe1m%2B",
}


def echo(request: Request) -> Reply:
    """A server that puts everything it was told into its error."""
    told = {"seen": request.headers, "target": request.target, "body": request.body.decode()}
    return Reply(500, json.dumps({"error": {"message": f"{told} {json.dumps(told)}"}}).encode())


def echo_raw(request: Request) -> Reply:
    return Reply(401, json.dumps({"seen": request.headers, "target": request.target}).encode())


def echo_location(request: Request) -> Reply:
    location = f"http://joe:pw@{request.headers.get('authorization', '-').split()[-1]}/{request.target}"
    return Reply(302, b"", {"Location": location})


def told(error: BaseException, records: Mapping[str, str]) -> str:
    parts = [str(error), repr(error), str(error.args), repr(vars(error)), repr(records)]
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    return "\n".join(parts)


@pytest.mark.parametrize("answer", [echo, echo_raw, echo_location])
async def test_a_key_is_never_told(answer: Answerer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with odd_server(answer) as server:
        provider = provider_at("openai", server.url, openai_api_key=KEY)
        error = await embed_failure(provider)
        assert KEY in server.requests[0].headers["authorization"]
    everything = told(error, {"log": caplog.text, "provider": repr(provider), "vars": provider.endpoint})
    for part in ("quoted", "geheim", "sk-proj"):
        assert part not in everything


@both
@pytest.mark.parametrize("answer", [echo, echo_raw, echo_location])
@pytest.mark.parametrize("login", LOGINS)
async def test_what_is_secret_in_a_url_is_never_told(
    protocol: Protocol, answer: Answerer, login: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with odd_server(answer) as server:
        url = LOGINS[login].format(port=server.port)
        provider = provider_at(protocol, url, ollama_base_url=url, openai_base_url=url)
        errors = [await embed_failure(provider)]
        assert server.requests
    unreachable = provider_at(protocol, url, ollama_base_url=url, openai_base_url=url)
    errors.append(await embed_failure(unreachable))
    for error in errors:
        everything = told(error, {"log": caplog.text, "endpoint": provider.endpoint, "repr": repr(provider)})
        for secret in ("heim", "gehe1m", "joe:pw", "am9lOnB3", "am9lOmdlIGhlaW0vw7w=", "Z2VoZWlt"):
            assert secret not in everything


SPELLINGS: list[Callable[[str], str]] = [
    str,
    quote,
    lambda text: quote(text, safe=""),
    lambda text: quote(text, safe="").lower() if text.isascii() and text.islower() else text,
    quote_plus,
    json.dumps,
    lambda text: json.dumps(json.dumps(text)),
    escape,
    repr,
]


@settings(max_examples=100, deadline=None)
@given(
    secret=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=4, max_size=30)
    .map(str.strip)
    .filter(lambda text: len(text) >= 4),
    spelling=st.sampled_from(SPELLINGS),
)
def test_a_secret_is_hidden_in_every_spelling(secret: str, spelling: Callable[[str], str]) -> None:
    told = Scrubber([secret])(f"<<{spelling(secret)}>>")
    assert "[hidden]" in told
    assert not any(character.isalnum() for character in told.replace("[hidden]", ""))


@pytest.mark.parametrize("key", ["geheim\nkey", "ge heim", "gehéim", "geheim\x00"])
def test_a_key_that_cannot_be_sent_is_refused_at_once_without_being_shown(key: str) -> None:
    with pytest.raises(ProviderMisconfigured) as caught:
        provider_at("openai", "http://h", openai_api_key=key)
    assert "OPENAI_API_KEY" in str(caught.value)
    assert "heim" not in str(caught.value)


async def test_the_server_is_asked_only_what_it_must_know() -> None:
    """The stub counts nothing of this: what a foreign server sees of us."""

    def answer(request: Request) -> Reply:
        return Reply(500, b"{}")

    async with odd_server(answer) as served:
        await embed_failure(provider_at("openai", served.url, openai_api_key="sk-x"))
    [request] = served.requests
    assert set(request.headers) == {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "user-agent",
        "authorization",
        "content-type",
        "content-length",
    }
