"""A provider that is slow to answer, and when that is told."""

from __future__ import annotations

import asyncio

import pytest

from embedq_worker.configuration.settings import Settings
from embedq_worker.providers.factory import open_provider
from embedq_worker.service import watched_provider
from embedq_worker.service.watched_provider import WatchedProvider
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until


async def test_a_request_that_goes_unanswered_is_told_and_its_end_too(
    stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_provider, "UNANSWERED_S", 0.5)
    told: list[bool] = []
    provider = WatchedProvider(
        open_provider(
            Settings(
                provider="openai",
                openai_base_url=stub.openai_url,
                dimensions_wanted=stub.dimensions,
                model_name="stub",
            )
        ),
        lambda: told.append(provider.unanswered_s > 0),
    )
    stub.faults.hold = asyncio.Event()
    for request in (provider.check, lambda: provider.embed(["a text"])):
        stub.faults.hold.clear()
        asking = asyncio.create_task(request())
        await until(lambda: told == [True])
        stub.faults.hold.set()
        await asking
        assert told == [True, False]
        told.clear()
    await provider.aclose()
