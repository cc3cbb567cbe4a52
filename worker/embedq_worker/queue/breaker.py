"""The circuit breaker of the provider, shared by all workers through the database; see sql/015_providers."""

from __future__ import annotations

from dataclasses import dataclass

from embedq_worker.database.connections import Pool
from embedq_worker.providers.base import (
    Provider,
    ProviderError,
    ProviderMisconfigured,
    ProviderRateLimited,
)

FAILURES_TO_OPEN = 5
"""Requests in a row that found the provider unavailable."""

PROBE_LEASE_S = 10.0
"""A worker that was told to probe, and says nothing for so long, is dead: another one is told."""


@dataclass(frozen=True, slots=True)
class Held:
    """Why requests are held back.

    Attributes:
        state: ``open`` or ``cooling``.
        reason: One line, without secrets.
        advice: What to do; may be empty.
        wait_s: Seconds until it ends or is probed.
        probe: The caller is the one to probe now.
        misconfigured: Waiting will not help.
    """

    state: str
    reason: str
    advice: str
    wait_s: float
    probe: bool
    misconfigured: bool


def key_of(provider: Provider) -> str:
    """Name of the breaker of a provider."""
    return f"{provider.model} {provider.endpoint}"


async def look(pool: Pool, key: str) -> Held | None:
    """Ask whether requests are held back; None where they may flow."""
    row = await pool.fetchrow("SELECT * FROM embedq_provider_look($1, $2)", key, round(PROBE_LEASE_S * 1000))
    if row is None or not (row["held"] or row["probe"]):
        return None
    return Held(
        row["state"],
        row["reason"],
        row["advice"],
        (row["wait_ms"] or 0) / 1000,
        row["probe"],
        row["kind"] == "misconfigured",
    )


async def still_probing(pool: Pool, key: str) -> None:
    """Say that a probe is under way: some providers take a minute to load their model.

    Where an operator asked for another one meanwhile, that is to be.
    """
    await pool.execute(
        """UPDATE embedq_providers
           SET retry_at = greatest(retry_at, clock_timestamp() + $2 * interval '1 second')
           WHERE key = $1 AND state = 'open' AND retry_at > clock_timestamp()""",
        key,
        PROBE_LEASE_S,
    )


async def failed(
    pool: Pool, key: str, error: ProviderError, *, threshold: int = FAILURES_TO_OPEN, probe: bool = False
) -> float:
    """Enter a failure that is nobody's text.

    Args:
        pool: To the migrated database.
        key: Name of the breaker.
        error: Its kind decides: misconfigured opens at once, rate limited only cools.
        threshold: Failures in a row that open the breaker.
        probe: It was a probe: the next one comes later. Requests that were still in flight when the breaker
            opened tell nothing new.

    Returns:
        Seconds to wait before the tasks are tried again.
    """
    wait_ms = None
    kind = "unavailable"
    if isinstance(error, ProviderRateLimited):
        kind = "rate_limited"
        wait_ms = None if error.retry_after is None else round(error.retry_after * 1000)
    elif isinstance(error, ProviderMisconfigured):
        kind = "misconfigured"
    row = await pool.fetchrow(
        "SELECT state, wait_ms FROM embedq_provider_failed($1, $2, $3, $4, $5, $6, $7)",
        key,
        kind,
        error.message,
        error.advice,
        wait_ms,
        threshold,
        probe,
    )
    assert row is not None
    return float(row["wait_ms"]) / 1000


async def works(pool: Pool, key: str) -> bool:
    """Enter a success; True when it closed the breaker."""
    return bool(await pool.fetchval("SELECT embedq_provider_works($1)", key))
