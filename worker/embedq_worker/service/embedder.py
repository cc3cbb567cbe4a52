"""Embed texts, one outcome each: pack them into requests, and isolate a text that makes a request fail."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import sqrt
from time import perf_counter
from typing import TypeAlias

from embedq_worker.providers.base import (
    InputRejected,
    Provider,
    ProviderError,
    ProviderMisconfigured,
    RequestLimits,
    Vector,
    control_text,
)
from embedq_worker.providers.tokens import estimate_tokens
from embedq_worker.waits import Slots, in_time

_SPLIT_LEVELS = 6
_FEWEST_INPUTS = 8
"""Requests are not made smaller than this: a failure that passes may look like too many texts."""
_KEPT_VECTORS = 4_096
"""At most 40 MB, with their texts, of a model with 1,536 dimensions."""


@dataclass(frozen=True, slots=True)
class RequestStats:
    """One request that was sent.

    Attributes:
        inputs: Texts in it.
        seconds: Wall time.
        error: Kind of the failure; None if it succeeded.
    """

    inputs: int
    seconds: float
    error: str | None


@dataclass(frozen=True, slots=True)
class Embedded:
    """A vector for a text.

    Attributes:
        vector: The embedding.
        note: A note for the operator, such as that the text was embedded in parts.
    """

    vector: Vector
    note: str = ""


TextOutcome: TypeAlias = Embedded | ProviderError


class Unfinished(ProviderError):
    """The time for a call ran out before this text had a vector."""


@dataclass(frozen=True, slots=True)
class EmbedResult:
    """The result of one call.

    Attributes:
        outcomes: One per text, in order.
        requests: Every request that was sent.
    """

    outcomes: list[TextOutcome]
    requests: list[RequestStats]


class Embedder:
    """Embeds any number of texts with as few requests as the provider allows. Safe for concurrent use.

    Args:
        provider: Computes the vectors; not closed by the embedder.
        concurrency: Maximum number of requests in flight, over all concurrent calls.
    """

    def __init__(self, provider: Provider, *, concurrency: int) -> None:
        self._provider = provider
        self._limits = provider.limits
        self._slots = Slots(concurrency)
        self._kept: dict[str, Embedded] = {}

    def resize(self, concurrency: int) -> None:
        """Change the maximum number of requests in flight; those in flight continue."""
        self._slots.resize(concurrency)

    async def embed(
        self, texts: Sequence[str], *, within_s: float | None = None, smaller: int = 1
    ) -> EmbedResult:
        """Embed texts; identical ones are sent once.

        A text that the provider rejects fails alone: its request is bisected to find it. A text that is too
        long is embedded in parts. After a failure that no text causes (unavailable, rate limited,
        misconfigured), nothing more is sent for this call; the texts without a vector get that error. The
        vectors of the others are kept for the next call with these texts: a text of many chunks may need more
        requests than a provider allows in a minute.

        Args:
            texts: Any number, of any length.
            within_s: Seconds after which texts without a vector are `Unfinished`; None for no limit.
            smaller: Factor by which requests have to be smaller than they may be.

        Returns:
            An outcome per text. Failures of the provider are outcomes, never raised.
        """
        limits = _divided(self._limits, len(texts), smaller)
        call = _Call(self._provider, self._slots, limits, self._limit)
        call.outcomes.update((text, self._kept.pop(text)) for text in set(texts) & self._kept.keys())
        with suppress(TimeoutError):
            await in_time(lambda: call.embed(texts), within_s)
        late = Unfinished(f"not embedded within {within_s or 0:g} s")
        outcomes = [call.outcomes.get(text, late) for text in texts]
        self._keep(dict(zip(texts, outcomes, strict=True)))
        return EmbedResult(outcomes, call.requests)

    def _keep(self, outcomes: Mapping[str, TextOutcome]) -> None:
        """Keep the vectors of a call that failed; the oldest make room."""
        embedded = {text: outcome for text, outcome in outcomes.items() if isinstance(outcome, Embedded)}
        if any(not isinstance(outcome, Embedded | InputRejected) for outcome in outcomes.values()):
            self._kept = dict(list({**self._kept, **embedded}.items())[-_KEPT_VECTORS:])

    def _limit(self, inputs: int) -> None:
        """Send no more texts per request from now on; a server says in no common way how many it takes."""
        inputs = min(self._limits.inputs, max(inputs, _FEWEST_INPUTS))
        self._limits = replace(self._limits, inputs=inputs)


def pack(texts: Iterable[str], limits: RequestLimits) -> list[list[str]]:
    """Distribute texts over requests, first fit by decreasing size.

    Args:
        texts: Non-empty texts; one above the token limit gets a request of its own.
        limits: Limits of one request.

    Returns:
        Requests, each a non-empty list of texts within the limits.
    """
    sized = sorted(((estimate_tokens(text), text) for text in texts), key=lambda item: item[0], reverse=True)
    packs: list[_Pack] = []
    open_packs: list[_Pack] = []
    for tokens, text in sized:
        room = next((p for p in open_packs if p.tokens + tokens <= limits.tokens), None)
        if room is None:
            room = _Pack([], 0)
            packs.append(room)
            open_packs.append(room)
        room.texts.append(text)
        room.tokens += tokens
        if len(room.texts) >= limits.inputs:
            open_packs.remove(room)
    return [p.texts for p in packs]


def _divided(limits: RequestLimits, texts: int, by: int) -> RequestLimits:
    """Limits for requests smaller by a factor than those for this number of texts would be."""
    if by == 1:
        return limits
    return RequestLimits(max(1, min(limits.inputs, texts) // by), limits.tokens // by)


@dataclass(slots=True, eq=False)
class _Pack:
    texts: list[str]
    tokens: int


class _Call:
    """State of one `Embedder.embed`."""

    def __init__(
        self, provider: Provider, slots: Slots, limits: RequestLimits, on_too_many: Callable[[int], None]
    ) -> None:
        self.outcomes: dict[str, TextOutcome] = {}
        self.requests: list[RequestStats] = []
        self._provider = provider
        self._slots = slots
        self._limits = limits
        self._on_too_many = on_too_many
        self._stopped: ProviderError | None = None
        self._searching = asyncio.Lock()

    async def embed(self, texts: Sequence[str]) -> None:
        distinct = dict.fromkeys(texts)
        empty = InputRejected("the text is empty")
        self.outcomes.update((text, empty) for text in distinct if not text.strip())
        to_send = [text for text in distinct if text not in self.outcomes]
        requests = pack(to_send, self._limits)
        if len(requests) == 1:  # without a task, so that it is sent before others that wait for their turn
            await self._settle(requests[0])
            return
        async with asyncio.TaskGroup() as group:
            for texts_of_request in requests:
                group.create_task(self._settle(texts_of_request))

    async def _settle(self, texts: Sequence[str]) -> None:
        """Determine the outcome of each of these texts, at most one request's worth."""
        answer = await self._request(texts)
        if isinstance(answer, InputRejected):
            # One search for the culprit at a time: if the provider rejects everything, the first search finds
            # out, and the others end.
            async with self._searching:
                await self._isolate(texts, answer)
        else:
            self._record(texts, answer)

    async def _isolate(self, texts: Sequence[str], refusal: InputRejected) -> None:
        """Bisect a rejected request, depth first, so that the first culprit is found after log2 requests."""
        if len(texts) == 1:
            self.outcomes[texts[0]] = await self._settle_refused(texts[0], refusal)
            return
        middle = len(texts) // 2
        embedded = 0
        for half in (texts[:middle], texts[middle:]):
            answer = await self._request(half)
            if isinstance(answer, InputRejected):
                await self._isolate(half, answer)
            else:
                self._record(half, answer)
                embedded += not isinstance(answer, ProviderError)
        if embedded == 2:
            self._on_too_many(len(texts) - middle)

    def _record(self, texts: Sequence[str], answer: list[Vector] | ProviderError) -> None:
        if isinstance(answer, ProviderError):
            self.outcomes.update(dict.fromkeys(texts, answer))
        else:
            self.outcomes.update((text, Embedded(v)) for text, v in zip(texts, answer, strict=True))

    async def _request(self, texts: Sequence[str]) -> list[Vector] | ProviderError:
        async with self._slots:
            if self._stopped is not None:
                return self._stopped
            began = perf_counter()
            try:
                vectors = await self._provider.embed(texts)
            except ProviderError as error:
                self.requests.append(RequestStats(len(texts), perf_counter() - began, error.kind))
                if not isinstance(error, InputRejected):
                    self._stopped = self._stopped or error
                return error
            self.requests.append(RequestStats(len(texts), perf_counter() - began, None))
            return vectors

    async def _settle_refused(self, text: str, refusal: InputRejected) -> TextOutcome:
        """Outcome of a text that was rejected when sent alone."""
        if not refusal.too_long:
            return await self._verdict(refusal)
        parts = await self._parts(text, refusal, _SPLIT_LEVELS)
        if isinstance(parts, InputRejected):
            return await self._verdict(parts)
        if isinstance(parts, ProviderError):
            return parts
        note = f"too long for the model ({len(text)} characters): mean of {len(parts)} parts"
        return Embedded(_mean([(len(part), vector) for part, vector in parts]), note)

    async def _parts(
        self, text: str, refusal: InputRejected, levels: int
    ) -> list[tuple[str, Vector]] | ProviderError:
        """Vectors of the parts of a text that is too long; if one part fails, so does the text."""
        halves = split_near_middle(text)
        if levels == 0 or halves is None:
            return refusal
        parts: list[tuple[str, Vector]] = []
        for half in halves:
            answer: list[tuple[str, Vector]] | ProviderError
            match await self._request([half]):
                case [vector]:
                    answer = [(half, vector)]
                case InputRejected(too_long=True) as error:
                    answer = await self._parts(half, error, levels - 1)
                case ProviderError() as error:
                    answer = error
            if isinstance(answer, ProviderError):
                return answer
            parts += answer
        return parts

    async def _verdict(self, refusal: InputRejected) -> ProviderError:
        """Decide whether the text is at fault, or the provider, which may reject whatever it is sent.

        That it embedded other texts before proves nothing: Gemini answers 400 from when its key expires.
        """
        answer = await self._request([control_text()])
        if isinstance(answer, InputRejected):
            self._stopped = ProviderMisconfigured(
                f"the provider rejects every text: {answer.message}",
                answer.advice or "check EMBEDDING_MODEL, EMBEDDING_DIMENSIONS and the key: embedq-tui check",
            )
            return self._stopped
        return answer if isinstance(answer, ProviderError) else refusal


def split_near_middle(text: str) -> tuple[str, str] | None:
    """Split a text in two at the white space nearest to its middle.

    Args:
        text: Any text.

    Returns:
        Two non-blank halves; None if the text has fewer than two characters. If there is no white space in
        the middle half of the text, it is cut in the middle.
    """
    text = text.strip()
    if len(text) < 2:
        return None
    middle = len(text) // 2
    reach = range(len(text) // 4)
    near = (at for step in reach for at in (middle - step, middle + step) if text[at].isspace())
    cut = next(near, middle)
    return text[:cut].rstrip(), text[cut:].lstrip()


def _mean(weighted: Sequence[tuple[int, Vector]]) -> Vector:
    """Weighted mean, scaled to the mean length of the vectors: the mean of unit vectors is shorter than 1."""
    total = sum(weight for weight, _ in weighted)
    rows = zip(*(vector for _, vector in weighted), strict=True)
    weights = [weight / total for weight, _ in weighted]
    mean = [sum(w * component for w, component in zip(weights, row, strict=True)) for row in rows]
    wanted = sum(w * _norm(vector) for w, (_, vector) in zip(weights, weighted, strict=True))
    scale = wanted / (_norm(mean) or 1.0)
    return array("f", [component * scale for component in mean])


def _norm(vector: Iterable[float]) -> float:
    return sqrt(sum(component * component for component in vector))
