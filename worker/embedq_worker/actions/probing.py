"""Probe a provider at once on an operator's request, instead of waiting for the breaker's next probe."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError

LOOK_EVERY_S = 0.1


class Probed(NamedTuple):
    """A provider to which requests were held back when the probe was requested.

    Attributes:
        key: Name of its breaker.
        held: Requests to it are still held back.
        answered: It has been probed since, or was only cooling down and is no longer.
        workers: Living workers that use it; without one, nothing probes it.
        reason: Why requests are held back; empty if they are not.
        advice: What to do; may be empty.
    """

    key: str
    held: bool
    answered: bool
    workers: int
    reason: str
    advice: str


async def probe(
    connection: Connection, key: str | None, by: str, *, dead_s: float, within_s: float
) -> list[Probed]:
    """Have workers, on any host, probe providers that are held back, and wait for the result.

    Args:
        connection: To the migrated database.
        key: Name of a breaker; None for all that hold requests back.
        by: Operator as ``user@host``, for the audit log.
        dead_s: Seconds without a heartbeat after which a worker is not waited for.
        within_s: Maximum of seconds to wait.

    Returns:
        The providers that were held back, in their present state.

    Raises:
        EmbedqError: There is no such provider.
    """
    rows = await connection.fetch("SELECT key, asked_at FROM embedq_provider_ask($1, $2)", key, by)
    asked = {row["key"]: row["asked_at"] for row in rows}
    if not asked and key is not None:
        await _require(connection, key)
    seen = await _look(connection, asked, dead_s)
    try:
        async with asyncio.timeout(within_s):
            while any(one.workers and not one.answered for one in seen):
                await asyncio.sleep(LOOK_EVERY_S)
                seen = await _look(connection, asked, dead_s)
    except TimeoutError:
        pass
    return seen


async def _require(connection: Connection, key: str) -> None:
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM embedq_providers WHERE key = $1)", key):
        raise EmbedqError(f"there is no provider {key!r}", "list them: embedq-tui status")


async def _look(connection: Connection, asked: Mapping[str, datetime], dead_s: float) -> list[Probed]:
    rows = await connection.fetch(_LOOK, list(asked), list(asked.values()), dead_s)
    return [Probed(**row) for row in rows]


_LOOK = """
SELECT p.key, h.held, NOT h.held OR p.updated_at > a.asked_at AS answered,
       (SELECT count(*) FROM embedq_workers w
        WHERE w.provider = p.key AND w.state = 'running'
          AND embedq_alive(w.state, w.heartbeat_at, make_interval(secs => $3))) AS workers,
       CASE WHEN h.held THEN p.reason ELSE '' END AS reason,
       CASE WHEN h.held THEN p.advice ELSE '' END AS advice
FROM unnest($1::text[], $2::timestamptz[]) AS a(key, asked_at)
JOIN embedq_providers p USING (key) CROSS JOIN LATERAL (SELECT embedq_provider_held(p.key) AS held) AS h
ORDER BY p.key
"""
