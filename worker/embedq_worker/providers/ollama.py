"""Embeddings from an Ollama server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from time import perf_counter

from embedq_worker.configuration.settings import Settings
from embedq_worker.providers.base import (
    CheckReport,
    InputRejected,
    ProviderError,
    ProviderMisconfigured,
    RequestLimits,
    Vector,
)
from embedq_worker.providers.failures import Remedies, embed_check_text, failure_in, failure_of, told_by
from embedq_worker.providers.http import Answer, JsonClient, answer_limit
from embedq_worker.providers.naming import stored_model
from embedq_worker.providers.vectors import BrokenAnswer, checked, vector_of

_INPUTS = 32
_CONTEXT_TOKENS = 2_048
_NO_MODEL = re.compile(r"model .*not found", re.IGNORECASE)
_NO_EMBEDDINGS = re.compile(r"not support embedding", re.IGNORECASE)
_NOT_FINITE = re.compile(r"unsupported value: (NaN|[+-]?Inf)", re.IGNORECASE)


class OllamaProvider:
    """`Provider` over ``POST /api/embed``.

    Args:
        settings: Model, dimensions, base URL, limits.

    Raises:
        ProviderMisconfigured: The base URL is not valid.
    """

    def __init__(self, settings: Settings) -> None:
        self._name = settings.model
        self.model = stored_model(settings)
        self.dimensions = settings.dimensions
        self._context = settings.context_tokens or _CONTEXT_TOKENS
        # It accepts any number of texts, one after the other; small requests keep it responsive.
        inputs = settings.request_inputs or _INPUTS
        self.limits = RequestLimits(inputs, inputs * self._context)
        self._client = JsonClient(
            settings.ollama_base_url,
            setting="OLLAMA_BASE_URL",
            timeout_s=settings.request_timeout_ms / 1000,
        )
        self.endpoint = self._client.endpoint
        self._pull = f"run `ollama pull {self._name}`, or check EMBEDDING_MODEL and OLLAMA_BASE_URL"
        self._remedies = Remedies(
            refused="the server requires credentials: add USER:PASSWORD@ to OLLAMA_BASE_URL, "
            "and restart the workers",
            missing="is OLLAMA_BASE_URL the URL of an Ollama server, version 0.3 or later?",
            unusable="is EMBEDDING_MODEL an embedding model, and does EMBEDDING_CONTEXT_TOKENS fit it?",
        )

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts in one request; see `Provider.embed`."""
        answer = await self._client.post(
            "/api/embed",
            {
                "model": self._name,
                "input": list(texts),
                "truncate": False,
                "options": {"num_ctx": self._context},
            },
            limit=answer_limit(len(texts), self.dimensions),
        )
        if answer.status != 200:
            raise self._failure(answer)
        try:
            vectors = [vector_of(value) for value in _embeddings(answer.json())]
            return checked(vectors, texts=len(texts), dimensions=self.dimensions, model=self.model)
        except BrokenAnswer as broken:
            failed = failure_in(answer)
            raise (self._failure(failed) if failed else self._client.broken(broken)) from None

    async def check(self) -> CheckReport:
        """Ask for the version, embed one text; see `Provider.check`."""
        began = perf_counter()
        answer = await self._client.get("/api/version")
        if answer.status == 404:
            raise ProviderMisconfigured(
                f"{self.endpoint} is not an Ollama server",
                "set OLLAMA_BASE_URL to one, such as http://localhost:11434",
            )
        if answer.status != 200:
            raise self._failure(answer)
        try:
            version = _version(answer.json())
        except BrokenAnswer as broken:
            raise self._client.broken(broken) from None
        await embed_check_text(self, self._remedies)
        detail = f"Ollama {self._client.scrub(version)} at {self.endpoint}"
        return CheckReport(self.model, self.dimensions, perf_counter() - began, detail)

    async def aclose(self) -> None:
        """Close connections."""
        await self._client.aclose()

    def _failure(self, answer: Answer) -> ProviderError:
        """Classify a failure: Ollama answers 500 to some problems of a single text or of the settings."""
        told = told_by(answer)
        failure = failure_of(answer, self._client, self._remedies)
        if _NO_MODEL.search(told.message):
            return ProviderMisconfigured(failure.message, self._pull)
        if _NO_EMBEDDINGS.search(told.message):
            return ProviderMisconfigured(failure.message, "set EMBEDDING_MODEL to an embedding model")
        if answer.status == 500 and told.too_long:
            return InputRejected(failure.message, too_long=True)
        if _NOT_FINITE.search(told.message):
            return InputRejected(failure.message)
        return failure


def _embeddings(body: object) -> list[object]:
    match body:
        case {"embeddings": list(values)}:
            return values
    raise BrokenAnswer("contains no embeddings")


def _version(body: object) -> str:
    match body:
        case {"version": str(version)}:
            return version
    raise BrokenAnswer("contains no version of Ollama")
