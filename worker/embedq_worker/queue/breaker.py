"""The circuit breaker of a provider, shared by all workers through the database; see sql/015_providers."""

from __future__ import annotations

from dataclasses import dataclass

from embedq_worker.database.connections import Pool
from embedq_worker.database.encoding import encodable
from embedq_worker.providers.base import (
    InputRejected,
    ProviderError,
    ProviderRateLimited,
    ProviderUnavailable,
)

FAILURES_TO_OPEN = 5
"""Consecutive requests that find the provider unavailable before the breaker opens."""

PROBE_LEASE_S = 10.0
"""A worker told to probe that does not report within this time is presumed dead; another one probes."""


@dataclass(frozen=True, slots=True)
class Held:
    """Why requests are held back.

    Attributes:
        state: ``open`` or ``cooling``.
        reason: One line, without secrets.
        advice: What to do; may be empty.
        wait_s: Seconds until it ends or the next probe.
        probe: This caller has to probe now.
    """

    state: str
    reason: str
    advice: str
    wait_s: float
    probe: bool


async def look(pool: Pool, key: str) -> Held | None:
    """Ask whether requests are held back; None if they are not."""
    row = await pool.fetchrow("SELECT * FROM embedq_provider_look($1, $2)", key, round(PROBE_LEASE_S * 1000))
    if row is None or not row["held"]:
        return None
    return Held(row["state"], row["reason"], row["advice"], row["wait_ms"] / 1000, row["probe"])


async def still_probing(pool: Pool, key: str) -> bool:
    """Extend the lease of a probe under way: some providers take a minute to load their model.

    Returns:
        False if the lease is over: an operator has asked for a new probe in the meantime, which takes place.
    """
    extended = await pool.execute(
        """UPDATE embedq_providers
           SET retry_at = greatest(retry_at, clock_timestamp() + $2 * interval '1 second')
           WHERE key = $1 AND state = 'open' AND retry_at > clock_timestamp()""",
        key,
        PROBE_LEASE_S,
    )
    return extended != "UPDATE 0"


async def failed(
    pool: Pool, key: str, error: ProviderError, *, threshold: int = FAILURES_TO_OPEN, probe: bool = False
) -> float:
    """Record a failure of the provider, as opposed to a text it cannot embed.

    Args:
        pool: To the migrated database.
        key: Name of the breaker.
        error: Its kind decides: misconfigured opens the breaker at once, rate limited only cools down.
        threshold: Consecutive failures that open the breaker.
        probe: The failed request was a probe, so the next probe is delayed further. Requests that were in
            flight when the breaker opened do not have that effect.

    Returns:
        Seconds to wait before the tasks are retried.
    """
    # A provider that rejects the text of a probe rejects all.
    kind = ProviderUnavailable.kind if isinstance(error, InputRejected) else error.kind
    asked_s = error.retry_after if isinstance(error, ProviderRateLimited) else None
    held_ms: int = await encodable(
        lambda words: pool.fetchval(
            "SELECT embedq_provider_failed($1, $2, $3, $4, $5, $6, $7)",
            key,
            kind,
            words(error.message),
            words(error.advice),
            None if asked_s is None else round(asked_s * 1000),
            threshold,
            probe,
        )
    )
    return held_ms / 1000


async def works(pool: Pool, key: str) -> bool:
    """Record a success; True if it closed the breaker."""
    return bool(await pool.fetchval("SELECT embedq_provider_works($1)", key))
