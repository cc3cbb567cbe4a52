"""The interface of every embedding provider, and the kinds of failure that the queue treats differently."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias
from uuid import uuid4

from embedq_worker.errors import EmbedqError, ExitCode

Vector: TypeAlias = "array[float]"
"""One embedding: float32 components, ``array('f')``, length ``Provider.dimensions``."""


def control_text() -> str:
    """A text every provider can embed; a provider that rejects it rejects everything.

    It is never the same twice: a gateway may answer an old one from its cache while the provider is down.
    """
    return f"control text {uuid4().hex[:6]}"


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The size limits of one request.

    Attributes:
        inputs: Texts per request.
        tokens: Estimated tokens per request (the sum over its texts).
    """

    inputs: int
    tokens: int


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Result of a successful check.

    Attributes:
        model: Name stored with each vector, such as ``ollama/nomic-embed-text``.
        dimensions: Dimensions of a vector.
        seconds: Wall time of the round trip.
        detail: One line for the operator (server version, endpoint).
    """

    model: str
    dimensions: int
    seconds: float
    detail: str


class ProviderError(EmbedqError):
    """A request for embeddings failed; the message contains no secret.

    Attributes:
        kind: Its kind, in the table of breakers and in metrics.
    """

    exit_code = ExitCode.UNREACHABLE
    kind = "other"


class ProviderUnavailable(ProviderError):
    """Not the text's fault: refused connection, timeout, 5xx, malformed response. Opens the breaker."""

    kind = "unavailable"


class ProviderRateLimited(ProviderError):
    """429, or 503 with Retry-After: wait, then continue; no attempt is charged.

    Args:
        retry_after: Seconds to wait, according to the provider; None if it did not say.
    """

    kind = "rate_limited"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderMisconfigured(ProviderError):
    """Bad key, missing model, wrong dimensions: every task would fail, so no attempt is charged.

    The advice says what to change.
    """

    exit_code = ExitCode.NO
    kind = "misconfigured"


class InputRejected(ProviderError):
    """The provider rejected the request (400, 413, 422): one of the texts is at fault.

    Args:
        too_long: The provider said that a text exceeds the model's context.
    """

    kind = "input_rejected"

    def __init__(self, message: str, advice: str = "", *, too_long: bool = False) -> None:
        super().__init__(message, advice)
        self.too_long = too_long


class Provider(Protocol):
    """A source of embeddings. One instance per process; safe for concurrent use by tasks of one loop.

    Attributes:
        model: Name stored with each vector: ``provider/model``, plus ``@dimensions`` if not the native ones.
            Vectors with different names are never compared.
        endpoint: Where requests go, without secrets; with `model` it is the key of the circuit breaker.
        dimensions: Dimensions of a vector.
        limits: Size limits of one request.
    """

    model: str
    endpoint: str
    dimensions: int
    limits: RequestLimits

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts in one request.

        Args:
            texts: 1 to ``limits.inputs`` non-empty texts.

        Returns:
            One finite vector of ``dimensions`` dimensions per text, in the order of the texts.

        Raises:
            ProviderError: One of its four kinds.
        """
        ...

    async def check(self) -> CheckReport:
        """Make one small request and compare the response with the settings.

        Raises:
            ProviderError: The advice says what to do.
        """
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
