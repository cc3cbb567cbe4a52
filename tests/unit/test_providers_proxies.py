"""A proxy between us and the provider, as the environment names it."""

from __future__ import annotations

import pytest

from embedq_worker.providers.base import (
    ProviderError,
    ProviderMisconfigured,
    ProviderUnavailable,
)
from tests.support.failing import Protocol, both, failure, opened
from tests.support.http_line import Reply
from tests.support.odd_server import odd_server
from tests.support.provider_stub import ProviderStub, stub_vector


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
@pytest.mark.parametrize("proxy", ["http://joe:geheim@127.0.0.1:1", "joe:geheim@127.0.0.1:1", "127.0.0.1:1"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_cannot_be_reached_is_not_taken_for_the_server(
    protocol: Protocol, scheme: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    async with opened(protocol, f"{scheme}://example.invalid") as provider:
        error = await failure(provider)
    assert isinstance(error, ProviderUnavailable)
    assert "127.0.0.1:1" in error.message
    assert "HTTP_PROXY" in error.advice
    assert "geheim" not in str(error)


@both
async def test_where_no_proxy_is_used_none_is_blamed(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:2")
    monkeypatch.setenv("NO_PROXY", "0.0.0.0")
    async with opened(protocol, "http://0.0.0.0:1") as provider:
        error = await failure(provider)
    assert isinstance(error, ProviderUnavailable)
    assert "127.0.0.1:2" not in str(error)
