"""`Suspicion`: when a text is blamed, and when the provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID, uuid4

import pytest

from embedq_worker.configuration.settings import Settings
from embedq_worker.providers.base import ProviderUnavailable
from embedq_worker.providers.factory import open_provider
from embedq_worker.service.embedder import Embedded, Embedder, TextOutcome
from embedq_worker.service.suspicion import ASKED_AGAIN, Suspicion
from tests.support.provider_stub import Fault, ProviderStub, stub_vector

TASK = UUID(int=1)


@pytest.fixture
async def suspicion(stub: ProviderStub) -> AsyncIterator[Suspicion]:
    """Of one task."""
    provider = open_provider(
        Settings(
            provider="openai",
            openai_base_url=stub.openai_url,
            dimensions_wanted=stub.dimensions,
            model_name="stub",
        )
    )
    try:
        suspicion = Suspicion(Embedder(provider, concurrency=1))
        assert not suspicion.knows([TASK])
        yield suspicion
    finally:
        await provider.aclose()


def unavailable(texts: Sequence[str]) -> dict[str, TextOutcome]:
    return {text: ProviderUnavailable("no") for text in texts}


async def test_a_control_text_that_fails_clears_the_suspect(suspicion: Suspicion, stub: ProviderStub) -> None:
    asked = 0

    async def ask(texts: Sequence[str], smaller: int) -> dict[str, TextOutcome]:
        nonlocal asked
        asked += 1
        return unavailable(texts)

    stub.faults.fault = Fault.STATUS
    await suspicion.ask_again(TASK, unavailable(["a"]), ask, within_s=60)
    assert asked == 1
    stub.faults.fault = Fault.NONE
    assert not suspicion.knows([TASK])
    assert suspicion.knows([TASK])


async def test_a_suspect_that_gets_on_is_asked_again_from_the_beginning(suspicion: Suspicion) -> None:
    lacking = []

    async def ask(texts: Sequence[str], smaller: int) -> dict[str, TextOutcome]:
        lacking.append(len(texts))
        outcomes = unavailable(texts)
        if len(lacking) == ASKED_AGAIN:
            outcomes[texts[0]] = Embedded(stub_vector(texts[0], 8))
        return outcomes

    await suspicion.ask_again(TASK, unavailable(["a", "b", "c"]), ask, within_s=60)
    assert lacking == [3] * ASKED_AGAIN + [2] * ASKED_AGAIN


async def test_a_suspect_that_gets_on_slowly_does_not_hold_its_slot_for_ever(suspicion: Suspicion) -> None:
    tries = 0

    async def ask(texts: Sequence[str], smaller: int) -> dict[str, TextOutcome]:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0.1)  # the timeout of the text that is never answered
        return unavailable(texts) | {texts[0]: Embedded(stub_vector(texts[0], 8))}

    await suspicion.ask_again(TASK, unavailable([str(n) for n in range(50)]), ask, within_s=0.25)
    assert 1 <= tries <= 3


@pytest.mark.parametrize("every", [1, 2, 3])
async def test_a_provider_that_fails_now_and_then_blames_no_text(
    suspicion: Suspicion, stub: ProviderStub, every: int
) -> None:
    assert await suspicion.is_a_text(ProviderUnavailable("no"), known=True)
    stub.faults.fault, stub.faults.every = Fault.STATUS, every
    assert not await suspicion.is_a_text(ProviderUnavailable("no"), known=True)


async def test_a_suspect_is_remembered_until_it_is_settled(suspicion: Suspicion) -> None:
    assert not suspicion.knows([UUID(int=2)])
    assert suspicion.knows([TASK])
    suspicion.clear([TASK])
    assert not suspicion.knows([TASK])
    assert suspicion.knows([UUID(int=2)])


async def test_suspects_without_number_are_none(suspicion: Suspicion) -> None:
    """Where the provider fails for so many tasks, it is the one that fails."""
    many = [uuid4() for _ in range(10_001)]
    assert not suspicion.knows(many)
    assert not suspicion.knows([UUID(int=2)])
    assert not suspicion.knows(many[:1])
