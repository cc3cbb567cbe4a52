"""`Embedder` through its public door, with real providers over real HTTP against the stub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import log2, sqrt
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedq_worker.configuration.settings import Settings
from embedq_worker.providers.base import (
    InputRejected,
    ProviderError,
    ProviderMisconfigured,
    ProviderRateLimited,
    ProviderUnavailable,
    Vector,
)
from embedq_worker.providers.factory import open_provider
from embedq_worker.service.embedder import (
    Embedded,
    Embedder,
    EmbedResult,
    TextOutcome,
    Unfinished,
    split_near_middle,
)
from tests.support.provider_stub import Counters, Fault, ProviderStub, stub_vector
from tests.support.waiting import until

Protocol = Literal["ollama", "openai"]
PROTOCOLS: tuple[Protocol, ...] = ("ollama", "openai")
both = pytest.mark.parametrize("protocol", PROTOCOLS)


@asynccontextmanager
async def embedder_on(
    stub: ProviderStub, protocol: Protocol, *, concurrency: int = 1, **values: Any
) -> AsyncIterator[Embedder]:
    urls = {"ollama_base_url": stub.base_url, "openai_base_url": stub.openai_url}
    given_values: dict[str, Any] = {"dimensions_wanted": stub.dimensions, "model_name": "stub", **urls}
    provider = open_provider(Settings(provider=protocol, **{**given_values, **values}))
    try:
        await provider.check()  # a server that has taken base64 once is not asked for numbers
        stub.seen = Counters()
        yield Embedder(provider, concurrency=concurrency)
    finally:
        await provider.aclose()


def numbered(count: int) -> list[str]:
    return [f"text number {index}" for index in range(count)]


def kinds(result: EmbedResult) -> set[type[TextOutcome]]:
    return {type(outcome) for outcome in result.outcomes}


def norm(vector: Vector) -> float:
    return sqrt(sum(component * component for component in vector))


# -- what works


@both
async def test_every_text_gets_its_own_vector_in_as_few_requests_as_the_limits_allow(
    protocol: Protocol,
) -> None:
    texts = numbered(50)
    async with ProviderStub() as stub, embedder_on(stub, protocol, request_inputs=16) as embedder:
        result = await embedder.embed(texts)
        assert result.outcomes == [Embedded(stub_vector(text, 8)) for text in texts]
        assert sorted(stub.seen.sizes) == [2, 16, 16, 16]
        assert sorted(request.inputs for request in result.requests) == [2, 16, 16, 16]
        assert all(request.error is None and request.seconds > 0 for request in result.requests)


@both
async def test_identical_texts_are_sent_once(protocol: Protocol) -> None:
    async with ProviderStub() as stub, embedder_on(stub, protocol) as embedder:
        result = await embedder.embed(["same", "other", "same", "same"])
        assert sorted(stub.seen.texts) == ["other", "same"]
    assert [outcome == Embedded(stub_vector("same", 8)) for outcome in result.outcomes] == [
        True,
        False,
        True,
        True,
    ]


async def test_nothing_to_embed_sends_nothing() -> None:
    async with ProviderStub() as stub, embedder_on(stub, "ollama") as embedder:
        assert await embedder.embed([]) == EmbedResult([], [])
        blank = await embedder.embed(["", " \n\t "])
        assert kinds(blank) == {InputRejected}
        assert stub.seen.requests == 0


async def test_requests_in_flight_are_bounded_over_all_calls() -> None:
    async with (
        ProviderStub() as stub,
        embedder_on(stub, "openai", concurrency=3, request_inputs=2) as embedder,
    ):
        stub.faults.hold = gate = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(embedder.embed([f"{n}/{t}" for t in numbered(8)])) for n in range(4)]
            await until(lambda: stub.seen.in_flight == 3)
            gate.set()
        assert stub.seen.max_in_flight == 3
        assert all(kinds(call.result()) == {Embedded} for call in calls)


async def test_cancellation_passes_through_and_frees_the_slots() -> None:
    async with ProviderStub() as stub, embedder_on(stub, "ollama", request_inputs=2) as embedder:
        stub.faults.hold = asyncio.Event()
        call = asyncio.create_task(embedder.embed(numbered(6)))
        await until(lambda: stub.seen.in_flight == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        stub.faults.hold = None
        assert kinds(await embedder.embed(numbered(6))) == {Embedded}


# -- a text that is at fault


@both
async def test_one_poisoned_text_fails_alone_after_log2_requests(protocol: Protocol) -> None:
    texts = numbered(32)
    texts[21] = "POISON here"
    async with ProviderStub() as stub, embedder_on(stub, protocol, request_inputs=32) as embedder:
        stub.faults.poison = "POISON"
        result = await embedder.embed(texts)
    culprit = result.outcomes.pop(21)
    assert isinstance(culprit, InputRejected)
    assert kinds(result) == {Embedded}
    assert len(result.requests) <= 1 + 2 * log2(32) + 1


@both
async def test_a_vector_that_is_not_finite_is_the_fault_of_its_text_alone(protocol: Protocol) -> None:
    async with ProviderStub() as stub, embedder_on(stub, protocol) as embedder:
        stub.faults.poison_vector = "NAN"
        result = await embedder.embed(["fine", "NAN", "fine too"])
    assert [type(outcome) for outcome in result.outcomes] == [Embedded, InputRejected, Embedded]


@both
async def test_a_text_rejected_alone_is_charged_only_when_a_control_text_works(protocol: Protocol) -> None:
    async with ProviderStub() as stub, embedder_on(stub, protocol) as embedder:
        stub.faults.poison = "POISON"
        result = await embedder.embed(["POISON"])
        assert kinds(result) == {InputRejected}
        assert len(result.requests) == 2


@both
@pytest.mark.parametrize("message", ["bad request", "too long"])
async def test_a_provider_that_refuses_everything_is_misconfigured(protocol: Protocol, message: str) -> None:
    async with ProviderStub() as stub, embedder_on(stub, protocol, request_inputs=32) as embedder:
        stub.faults.fault, stub.faults.status, stub.faults.message = Fault.STATUS, 400, message
        result = await embedder.embed(numbered(100))
        assert kinds(result) == {ProviderMisconfigured}
        assert len(result.requests) <= 4 + log2(32) + 6 + 1


@both
async def test_a_provider_that_comes_to_refuse_everything_is_misconfigured(protocol: Protocol) -> None:
    async with ProviderStub() as stub, embedder_on(stub, protocol, request_inputs=1) as embedder:
        stub.faults.poison = "text"  # the control text, too
        result = await embedder.embed(["the longest is sent first", *numbered(9)])
        assert [type(outcome) for outcome in result.outcomes] == [Embedded, *[ProviderMisconfigured] * 9]
        assert len(result.requests) == 3


@both
async def test_a_text_that_is_refused_when_an_outage_begins_is_not_blamed(protocol: Protocol) -> None:
    async with ProviderStub() as stub, embedder_on(stub, protocol) as embedder:
        stub.faults.poison = "POISON"
        stub.faults.fault, stub.faults.every = Fault.STATUS, 2  # the text is refused, the control text fails
        assert kinds(await embedder.embed(["POISON"])) == {ProviderUnavailable}


@both
async def test_a_request_with_too_many_texts_is_sent_in_smaller_ones(protocol: Protocol) -> None:
    async with ProviderStub() as stub, embedder_on(stub, protocol, request_inputs=32) as embedder:
        stub.faults.max_inputs, stub.faults.max_inputs_status = 5, 413
        result = await embedder.embed(numbered(32))
        assert kinds(result) == {Embedded}


@both
async def test_how_many_texts_a_server_takes_is_learnt(protocol: Protocol) -> None:
    async with ProviderStub() as stub, embedder_on(stub, protocol, request_inputs=64) as embedder:
        stub.faults.max_inputs, stub.faults.max_inputs_status = 20, 422
        await embedder.embed(numbered(64))
        result = await embedder.embed([f"another {text}" for text in numbered(64)])
        assert kinds(result) == {Embedded}
        assert [(request.inputs, request.error) for request in result.requests] == [(16, None)] * 4


@both
@pytest.mark.parametrize(("allowed", "later"), [(4, 4), (64, 8)])
async def test_what_is_learnt_is_within_what_the_operator_allows_and_not_tiny(
    protocol: Protocol, allowed: int, later: int
) -> None:
    """A failure that passes may look like too many texts."""
    async with ProviderStub() as stub, embedder_on(stub, protocol, request_inputs=allowed) as embedder:
        stub.faults.max_inputs, stub.faults.max_inputs_status = 2, 422
        await embedder.embed(numbered(allowed))
        stub.faults.max_inputs = 0
        result = await embedder.embed([f"another {text}" for text in numbered(64)])
        assert {request.inputs for request in result.requests} == {later}


@both
async def test_a_poisoned_text_does_not_make_requests_smaller(protocol: Protocol) -> None:
    async with ProviderStub() as stub, embedder_on(stub, protocol, request_inputs=64) as embedder:
        stub.faults.poison = "POISON"
        await embedder.embed([*numbered(63), "POISON"])
        assert len((await embedder.embed([f"another {text}" for text in numbered(64)])).requests) == 1


async def test_what_has_a_vector_when_the_time_is_over_keeps_it() -> None:
    async with (
        ProviderStub() as stub,
        embedder_on(stub, "ollama", request_inputs=1, concurrency=2) as embedder,
    ):
        stub.faults.slow = "slow"
        result = await embedder.embed(["quick", "slow"], within_s=0.5)
        assert [type(outcome) for outcome in result.outcomes] == [Embedded, Unfinished]


# -- a text that is too long


@both
async def test_a_text_that_is_too_long_is_embedded_as_the_weighted_mean_of_its_parts(
    protocol: Protocol,
) -> None:
    text = "alpha beta gamma delta"
    async with ProviderStub() as stub, embedder_on(stub, protocol) as embedder:
        stub.faults.max_characters = 20
        result = await embedder.embed(["short", text])
    short, long = result.outcomes
    assert short == Embedded(stub_vector("short", 8))
    assert isinstance(long, Embedded)
    assert long.note
    parts = split_near_middle(text)
    assert parts == ("alpha beta", "gamma delta")
    vectors = [stub_vector(part, 8) for part in parts]
    mean = [(10 * a + 11 * b) / 21 for a, b in zip(*vectors, strict=True)]
    wanted = (10 * norm(vectors[0]) + 11 * norm(vectors[1])) / 21
    assert norm(long.vector) == pytest.approx(wanted, rel=1e-5)
    cosine = sum(a * b for a, b in zip(mean, long.vector, strict=True))
    assert cosine / norm(long.vector) == pytest.approx(sqrt(sum(m * m for m in mean)), rel=1e-5)


@both
async def test_a_text_that_is_too_long_however_often_it_is_split_is_rejected(protocol: Protocol) -> None:
    async with ProviderStub() as stub, embedder_on(stub, protocol) as embedder:
        stub.faults.max_characters = 20
        result = await embedder.embed(["x" * 2_000, "fine"])
        assert [type(outcome) for outcome in result.outcomes] == [InputRejected, Embedded]
        assert len(result.requests) <= 4 + 6


@both
async def test_a_failure_in_the_middle_of_the_parts_is_the_failure_of_the_text(protocol: Protocol) -> None:
    async with ProviderStub() as stub, embedder_on(stub, protocol) as embedder:
        stub.faults.max_characters = 20
        stub.faults.fault, stub.faults.status, stub.faults.every = Fault.STATUS, 500, 3
        result = await embedder.embed(["one two three four five six"])
        assert kinds(result) == {ProviderUnavailable}
        assert [request.error for request in result.requests] == [
            "input_rejected",
            None,
            "unavailable",
        ]


# -- failures that are nobody's text


@both
@pytest.mark.parametrize(
    ("status", "kind"),
    [(500, ProviderUnavailable), (401, ProviderMisconfigured), (429, ProviderRateLimited)],
)
async def test_after_a_failure_nothing_more_is_sent_and_the_good_ones_are_kept(
    protocol: Protocol, status: int, kind: type[ProviderError]
) -> None:
    async with ProviderStub() as stub, embedder_on(stub, protocol, request_inputs=2) as embedder:
        stub.faults.fault, stub.faults.status, stub.faults.every = Fault.STATUS, status, 3
        stub.faults.headers = {"Retry-After": "7"}
        result = await embedder.embed(numbered(20))
        assert stub.seen.requests == 3
        assert [request.error for request in result.requests] == [None, None, kind.kind]
    embedded = [outcome for outcome in result.outcomes if isinstance(outcome, Embedded)]
    failed = [outcome for outcome in result.outcomes if not isinstance(outcome, Embedded)]
    assert len(embedded) == 4
    assert {type(outcome) for outcome in failed} == {kind}
    assert all(o.retry_after == 7 for o in failed if isinstance(o, ProviderRateLimited))


@both
async def test_what_has_a_vector_when_a_call_fails_is_not_sent_again(protocol: Protocol) -> None:
    async with ProviderStub() as stub, embedder_on(stub, protocol, request_inputs=1) as embedder:
        stub.faults.fault, stub.faults.status, stub.faults.every = Fault.STATUS, 429, 3
        results = [await embedder.embed(numbered(5)) for _ in range(3)]
        assert [len(result.requests) for result in results] == [3, 3, 1]
        assert results[-1].outcomes == [Embedded(stub_vector(text, 8)) for text in numbered(5)]
        assert len((await embedder.embed(numbered(1))).requests) == 1  # nothing is kept for longer


async def test_no_more_vectors_of_calls_that_failed_are_kept_than_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("embedq_worker.service.embedder._KEPT_VECTORS", 1)
    async with ProviderStub() as stub, embedder_on(stub, "openai", request_inputs=1) as embedder:
        stub.faults.fault, stub.faults.status, stub.faults.every = Fault.STATUS, 429, 3
        assert len((await embedder.embed(numbered(5))).requests) == 3
        assert len((await embedder.embed(numbered(2))).requests) == 1


async def test_the_next_call_starts_afresh() -> None:
    async with ProviderStub() as stub, embedder_on(stub, "ollama") as embedder:
        stub.faults.fault, stub.faults.times = Fault.STATUS, 1
        assert kinds(await embedder.embed(numbered(3))) == {ProviderUnavailable}
        assert kinds(await embedder.embed(numbered(3))) == {Embedded}


# -- properties

WORDS = st.text(alphabet="abc äß数\n", min_size=1, max_size=30)
MARKED = st.one_of(WORDS, WORDS.map("POISON ".__add__), WORDS.map("NAN ".__add__))


def expected_kind(text: str, *, misconfigured: bool) -> type[TextOutcome]:
    if not text.strip():
        return InputRejected
    if "POISON" in text or "NAN" in text:
        return ProviderMisconfigured if misconfigured else InputRejected
    return Embedded


@settings(max_examples=40)
@given(
    texts=st.lists(MARKED, max_size=20),
    inputs=st.integers(1, 8),
    concurrency=st.integers(1, 4),
    protocol=st.sampled_from(PROTOCOLS),
)
async def test_each_text_gets_what_it_deserves_whatever_company_it_is_in(
    texts: list[str], inputs: int, concurrency: int, protocol: Protocol
) -> None:
    async with (
        ProviderStub() as stub,
        embedder_on(stub, protocol, concurrency=concurrency, request_inputs=inputs) as embedder,
    ):
        stub.faults.poison, stub.faults.poison_vector, stub.faults.max_characters = "POISON", "NAN", 25
        result = await embedder.embed(texts)
        assert stub.seen.max_in_flight <= concurrency
        assert stub.seen.requests == len(result.requests)
        assert all(size <= inputs for size in stub.seen.sizes)
    assert [type(o) for o in result.outcomes] == [expected_kind(t, misconfigured=False) for t in texts]
    for text, outcome in zip(texts, result.outcomes, strict=True):
        if isinstance(outcome, Embedded) and not outcome.note:
            assert outcome.vector == stub_vector(text, 8)
