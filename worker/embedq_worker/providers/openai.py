"""Embeddings from OpenAI, or from any server that speaks its protocol."""

from __future__ import annotations

import re
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from embedq_worker.configuration.settings import Settings
from embedq_worker.providers.base import (
    CheckReport,
    InputRejected,
    ProviderError,
    RequestLimits,
    Vector,
)
from embedq_worker.providers.failures import Remedies, embed_check_text, failure_in, failure_of, told_by
from embedq_worker.providers.http import Answer, JsonClient, answer_limit
from embedq_worker.providers.naming import native_dimensions, stored_model
from embedq_worker.providers.vectors import BrokenAnswer, checked, vector_of

_INPUTS = 2_048
_REQUEST_TOKENS = 300_000
_ENCODING_REFUSED = re.compile(r"encoding[ _]?format|base64", re.IGNORECASE)


class OpenAIProvider:
    """`Provider` over ``POST /embeddings``.

    Args:
        settings: Model, dimensions, base URL, key, limits.

    Raises:
        ProviderMisconfigured: Base URL or key is not valid.
    """

    def __init__(self, settings: Settings) -> None:
        self._name = settings.model
        self.dimensions = settings.dimensions
        self.model = stored_model(settings)
        self._asked = settings.dimensions_wanted if native_dimensions(settings) else None
        # A compatible server may accept fewer texts than OpenAI (EMBEDDING_REQUEST_INPUTS).
        self.limits = RequestLimits(settings.request_inputs or _INPUTS, _REQUEST_TOKENS)
        self._base64 = True
        self._took_base64 = False
        key = settings.openai_api_key.get_secret_value().strip() if settings.openai_api_key else None
        self._client = JsonClient(
            settings.openai_base_url,
            setting="OPENAI_BASE_URL",
            timeout_s=settings.request_timeout_ms / 1000,
            key=key,
        )
        self.endpoint = self._client.endpoint
        self._remedies = Remedies(
            refused="set OPENAI_API_KEY to a key that this server accepts for EMBEDDING_MODEL, "
            "and restart the workers",
            missing="check EMBEDDING_MODEL and OPENAI_BASE_URL (which usually ends in /v1)",
            unusable="is EMBEDDING_MODEL an embedding model, does EMBEDDING_DIMENSIONS fit it, and is "
            "OPENAI_API_KEY valid?",
        )

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts in one request; see `Provider.embed`."""
        in_base64 = self._base64
        answer = await self._post(texts, in_base64=in_base64)
        if in_base64 and answer.status != 200 and self._may_be_base64(answer):
            answer = await self._post(texts, in_base64=False)
            if answer.status == 200:
                self._base64 = False
        elif in_base64 and answer.status == 200:
            self._took_base64 = True
        if answer.status != 200:
            raise self._failure(answer)
        try:
            vectors = _in_order(answer.json())
            return checked(vectors, texts=len(texts), dimensions=self.dimensions, model=self.model)
        except BrokenAnswer as broken:
            failed = failure_in(answer)
            raise (self._failure(failed) if failed else self._client.broken(broken)) from None

    async def check(self) -> CheckReport:
        """Embed one text; see `Provider.check`."""
        began = perf_counter()
        await embed_check_text(self, self._remedies)
        return CheckReport(self.model, self.dimensions, perf_counter() - began, self.endpoint)

    async def aclose(self) -> None:
        """Close connections."""
        await self._client.aclose()

    def _may_be_base64(self, answer: Answer) -> bool:
        """Whether a failure may be due to base64: the server says so, or has not yet taken any.

        Gateways that do not know it may say anything: SAP's "error occurred while reading the response body".
        """
        unknown = not self._took_base64 and answer.status in (400, 422)
        return unknown or bool(_ENCODING_REFUSED.search(told_by(answer).message))

    async def _post(self, texts: Sequence[str], *, in_base64: bool) -> Answer:
        payload: dict[str, Any] = {"model": self._name, "input": list(texts)}
        if in_base64:
            payload["encoding_format"] = "base64"
        if self._asked is not None:
            payload["dimensions"] = self._asked
        return await self._client.post(
            "/embeddings", payload, limit=answer_limit(len(texts), self.dimensions)
        )

    def _failure(self, answer: Answer) -> ProviderError:
        failure = failure_of(answer, self._client, self._remedies)
        # llama.cpp answers 500 if a text exceeds its batch size.
        if answer.status == 500 and told_by(answer).too_long:
            return InputRejected(failure.message, too_long=True)
        return failure


def _in_order(body: object) -> list[Vector]:
    """The vectors of a response, sorted by index; the protocol does not promise any order."""
    found: dict[int, Vector] = {}
    match body:
        case {"data": list(items)}:
            for position, item in enumerate(items):
                match item:
                    # Gemini leaves out an index of 0, other servers leave out all.
                    case {"embedding": value} if isinstance(index := item.get("index", position), int):
                        found[index] = vector_of(value)
                    case _:
                        raise BrokenAnswer("contains something that is not an embedding")
        case _:
            raise BrokenAnswer("contains no embeddings")
    if found.keys() != set(range(len(items))):
        raise BrokenAnswer("has wrong indexes for its embeddings")
    return [found[index] for index in range(len(items))]
