"""What nobody may see: keys and passwords, whatever a server makes of them, and what a server sees of us."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from html import escape
from typing import TypeAlias
from urllib.parse import quote, quote_plus

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedq_worker.providers.base import ProviderMisconfigured
from embedq_worker.providers.scrubbing import Scrubber, secrets_of
from tests.support.failing import Protocol, both, embed_failure, provider_at
from tests.support.http_line import Reply
from tests.support.odd_server import Request, odd_server

Answerer: TypeAlias = Callable[[Request], Reply]

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


async def test_a_key_in_an_answer_that_is_no_http_is_never_told() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        [line] = [line for line in head.splitlines() if line.lower().startswith(b"authorization")]
        writer.write(line + b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await embed_failure(provider_at("openai", f"http://127.0.0.1:{port}", openai_api_key=KEY))
    assert "uthorization" in error.message
    assert "geheim" not in told(error, {})


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


@settings(max_examples=100)
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


@pytest.mark.parametrize("secrets", [["geheim", "geheim-lang"], ["geheim-lang", "geheim"]])
def test_of_secrets_that_begin_alike_the_whole_one_is_hidden(secrets: list[str]) -> None:
    assert Scrubber(secrets)("<geheim-lang>") == "<[hidden]>"


@pytest.mark.parametrize("ahead", range(280, 301))
def test_a_secret_is_hidden_before_a_long_text_is_cut(ahead: int) -> None:
    assert "gehe" not in Scrubber(["geheim-lang"])("." * ahead + "geheim-lang" + "." * 300)


@pytest.mark.parametrize(
    "told",
    [
        "no bearer: Bearer geheim",
        "no login: basic Z2VoZWltOmdlaGVpbQ==",
        "Incorrect API key provided: sk-proj-geh****heim.",
        "cannot connect to https://joe:geheim@inner.example/v1",
    ],
)
def test_what_looks_like_a_secret_is_hidden_though_it_is_none_of_ours(told: str) -> None:
    shown = Scrubber([])(told)
    assert "[hidden]" in shown
    assert not any(part in shown for part in ("heim", "Z2Vo"))


@pytest.mark.parametrize(
    "url",
    ["http://geheim@h", "http://joe:geheim@h", "http://h?token=geheim", "http://h?x=geheim-und-sehr-lang"],
)
def test_a_server_that_knows_a_secret_of_the_url_cannot_tell_it(url: str) -> None:
    shown = Scrubber(secrets_of(httpx.URL(url)))(
        "nobody here knows geheim, and geheim-und-sehr-lang even less"
    )
    assert "geheim-und-sehr-lang" not in shown
    assert shown.count("[hidden]") >= 1


@pytest.mark.parametrize("key", ["geheim\tkey", "ge heim", "gehéim", "geheim\x01"])
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
