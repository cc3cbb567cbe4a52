"""Words of workers and providers: what the note of a worker begins with, by which embedq knows it; states.

And the names of breakers: programs that only show them start faster without the breaker itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedq_worker.providers.base import Provider

REFUSED = "database: "
"""The database refuses its statements."""

UNAVAILABLE = "provider: "
"""It sends no requests to its provider."""

UNANSWERED = "no answer from the provider for "
"""A request to its provider has not been answered for long."""

ALONE = "for this worker alone: "
"""Follows where the provider works for other workers."""

PROVIDER_STATES = {"closed": "available", "cooling": "rate-limited", "open": "circuit open"}
"""The states of a provider's circuit breaker, as people read them."""


def key_of(provider: Provider) -> str:
    """Name of the breaker of a provider."""
    return f"{provider.model} {provider.endpoint}"


def parts_of(key: str) -> tuple[str, str]:
    """Model and endpoint of the provider of a breaker; only the model may contain spaces."""
    model, _, endpoint = key.rpartition(" ")
    return model, endpoint
