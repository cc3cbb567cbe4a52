"""A provider behind TLS: its certificate is checked, and who signed it may be named."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from embedq_worker.configuration.settings import Settings
from embedq_worker.providers.base import Provider, ProviderError, ProviderMisconfigured
from embedq_worker.providers.factory import open_provider
from tests.support.http_line import Reply
from tests.support.odd_server import Request, odd_server

KEY = "sk-geheim"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def served_by(authority: trustme.CA, *names: str, expired: bool = False) -> ssl.SSLContext:
    """What a server of these names proves itself with."""
    ends = datetime(2020, 1, 1, tzinfo=UTC) if expired else None
    certificate = authority.issue_cert(*names, not_after=ends)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def answer(request: Request) -> Reply:
    texts = json.loads(request.body)["input"]
    data = [{"index": index, "embedding": [1.0] * 8} for index, _ in enumerate(texts)]
    return Reply(200, json.dumps({"data": data}).encode())


def provider_at(url: str) -> Provider:
    return open_provider(
        Settings(
            provider="openai", openai_base_url=url, openai_api_key=KEY, model_name="stub", dimensions_wanted=8
        )
    )


async def embed(port: int) -> int | ProviderError:
    """Vectors that came, or why none did."""
    provider = provider_at(f"https://localhost:{port}/v1")
    try:
        return len(await provider.embed(["a"]))
    except ProviderError as error:
        return error
    finally:
        await provider.aclose()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authority is one of those the environment trusts."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


@pytest.mark.usefixtures("trusted")
async def test_a_server_whose_authority_is_named_is_trusted(authority: trustme.CA) -> None:
    async with odd_server(answer, tls=served_by(authority, "localhost")) as server:
        assert await embed(server.port) == 1


async def test_a_server_nobody_vouches_for_gets_neither_key_nor_text(authority: trustme.CA) -> None:
    async with odd_server(answer, tls=served_by(authority, "localhost")) as server:
        error = await embed(server.port)
    assert isinstance(error, ProviderMisconfigured)
    assert "SSL_CERT_FILE" in error.advice
    assert server.requests == []
    assert KEY not in str(error)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(("names", "expired"), [(["elsewhere.example"], False), (["localhost"], True)])
async def test_a_certificate_of_another_or_of_the_past_is_refused(
    authority: trustme.CA, names: list[str], expired: bool
) -> None:
    async with odd_server(answer, tls=served_by(authority, *names, expired=expired)) as server:
        error = await embed(server.port)
    assert isinstance(error, ProviderMisconfigured)
    assert server.requests == []
