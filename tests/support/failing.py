"""Providers that use a test server, and how they fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from embedq_worker.configuration.settings import Settings
from embedq_worker.providers.base import Provider, ProviderError
from embedq_worker.providers.factory import open_provider

Protocol = Literal["ollama", "openai"]
both = pytest.mark.parametrize("protocol", ["ollama", "openai"])


def provider_at(protocol: Protocol, url: str, **values: Any) -> Provider:
    """A provider of this protocol at the root of a server; `values` are settings."""
    given: dict[str, Any] = {"ollama_base_url": url, "openai_base_url": f"{url}/v1"}
    given |= {"dimensions_wanted": 8, "model_name": "stub"}
    return open_provider(Settings(provider=protocol, **{**given, **values}))


@asynccontextmanager
async def opened(protocol: Protocol, url: str, **values: Any) -> AsyncIterator[Provider]:
    """The same, closed at the end of the block."""
    provider = provider_at(protocol, url, **values)
    try:
        yield provider
    finally:
        await provider.aclose()


async def failure(provider: Provider, texts: Sequence[str] = ("a", "b")) -> ProviderError:
    """The error that embedding raises."""
    with pytest.raises(ProviderError) as caught:
        await provider.embed(texts)
    return caught.value


async def embed_failure(provider: Provider) -> ProviderError:
    """The error that embedding a text raises; closes the provider."""
    try:
        with pytest.raises(ProviderError) as caught:
            await provider.embed(["a"])
    finally:
        await provider.aclose()
    return caught.value


async def check_failure(provider: Provider) -> ProviderError:
    """The error that a check raises; closes the provider."""
    try:
        with pytest.raises(ProviderError) as caught:
            await provider.check()
    finally:
        await provider.aclose()
    return caught.value
