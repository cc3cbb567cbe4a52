"""The least that keeps what is promised of every task, in two bare statements, on embedq's schema.

Tokens, an audit row for each change, exact counts, signals, and the text of the article: how far the floor
is from any queue that promises these. What embedq promises beyond that is left out: one task per article at a
time, locking and comparing the article, operators' orders, circuit breaker, suspects, coalescing, metrics.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from uuid import UUID, uuid4

import asyncpg

from bench.contenders import Gate, Started
from bench.contenders.embedq import CONTENDER as EMBEDQ

BATCH = 500
CONNECTIONS = 2

_SESSION = {
    "jit": "off",
    "enable_seqscan": "off",
    "embedq.quiet": "on",
}

CLAIM = """
WITH due AS MATERIALIZED (
    SELECT id FROM embedding_tasks
    WHERE status = 'pending' AND embedq_rank(priority) = 1 AND scheduled_at <= now()
    ORDER BY scheduled_at, id LIMIT $1 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE embedding_tasks t
    SET status = 'processing', processed_at = now(), claimed_at = now(), worker_id = $2,
        claim_token = coalesce(t.claim_token, 0) + 1
    FROM due WHERE t.id = due.id RETURNING t.id, t.article_id, t.claim_token
), logged AS (
    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, task_id, article_id)
    SELECT embedq_nth_uuid($3, row_number() OVER ()), now(), 'debug', 'task_lifecycle', 'Task claimed',
           c.id, c.article_id FROM claimed c
)
SELECT c.id, c.claim_token, a.title, a.content FROM claimed c
LEFT JOIN LATERAL (SELECT title, content FROM articles WHERE id = c.article_id OFFSET 0) AS a ON true"""

COMPLETE = """
WITH done AS (
    UPDATE embedding_tasks t SET status = 'completed', completed_at = now(), attempts = attempts + 1
    FROM unnest($1::uuid[], $2::bigint[]) AS o(id, token)
    WHERE t.id = o.id AND t.status IN ('processing', '')
      AND t.worker_id = $3 AND t.claim_token = o.token
    RETURNING t.id, t.article_id
)
INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, task_id, article_id)
SELECT embedq_nth_uuid($4, row_number() OVER ()), now(), 'info', 'task_lifecycle', 'Task completed',
       d.id, d.article_id FROM done d"""


class _Worker:
    """A connection that claims and completes.

    Args:
        connection: With the settings of `_SESSION`.
    """

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection
        self._id = uuid4()

    async def step(self, started: Started = lambda: None) -> bool:
        """One batch; False if nothing is due."""
        rows = await self._connection.fetch(CLAIM, BATCH, self._id, _base())
        for _ in rows:
            started()
        if rows:
            ids, tokens = [row["id"] for row in rows], [row["claim_token"] for row in rows]
            await self._connection.execute(COMPLETE, ids, tokens, self._id, _base())
        return bool(rows)


def _base() -> UUID:
    """From which the ids of a batch's audit rows are made; sorts by time, as embedq_uuid() does."""
    return UUID(int=int(perf_counter() * 1e6) << 80 | uuid4().int & (1 << 80) - 1)


class Bare:
    """See the module."""

    setting = f"{BATCH} tasks per transaction, {CONNECTIONS} connections"
    insert = EMBEDQ.insert
    prepare = EMBEDQ.prepare
    enqueue = EMBEDQ.enqueue

    async def drain(self, url: str, gate: Gate) -> float:
        """Several loops of claim and completion."""
        connections = [await asyncpg.connect(url, server_settings=_SESSION) for _ in range(CONNECTIONS)]

        async def work(worker: _Worker) -> None:
            while await worker.step():
                pass

        await gate()
        began = perf_counter()
        await asyncio.gather(*(work(_Worker(connection)) for connection in connections))
        seconds = perf_counter() - began
        for connection in connections:
            await connection.close()
        return seconds

    async def serve(self, url: str, started: Started) -> None:
        """LISTEN, claim one, complete it."""
        worker, listener = (
            _Worker(await asyncpg.connect(url, server_settings=_SESSION)),
            await asyncpg.connect(url),
        )
        wake = asyncio.Event()
        await listener.add_listener("embedq_work", lambda *_: wake.set())
        while True:
            wake.clear()
            while await worker.step(started):
                pass
            await wake.wait()


CONTENDER = Bare()
