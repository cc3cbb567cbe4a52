"""Words of workers and providers: what the note of a worker begins with, by which embedq knows it; states."""

from __future__ import annotations

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
