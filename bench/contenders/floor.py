"""As little as a queue can be: bare asyncpg, claims by SKIP LOCKED, completes by id, on the public tables.

No token, no audit, no counts, no signals of its own: what PostgreSQL takes for the two updates of a task.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import perf_counter

import asyncpg

from bench.contenders import Gate, Started, single

SQL = Path(__file__).resolve().parents[2] / "sql"
BATCH = 500
CONNECTIONS = 3

_INDEX = "CREATE INDEX ON embedding_tasks (scheduled_at) WHERE status = 'pending'"

CLAIM = """
WITH due AS MATERIALIZED (
    SELECT id FROM embedding_tasks WHERE status = 'pending' AND scheduled_at <= now()
    ORDER BY scheduled_at LIMIT $1 FOR UPDATE SKIP LOCKED)
UPDATE embedding_tasks t SET status = 'processing', processed_at = now(), attempts = attempts + 1
FROM due WHERE t.id = due.id RETURNING t.id, t.slug"""

COMPLETE = "UPDATE embedding_tasks SET status = 'completed', completed_at = now() WHERE id = ANY ($1::uuid[])"

QUEUE = """INSERT INTO embedding_tasks (slug, operation)
           SELECT 'slug-' || i, 'delete' FROM generate_series(1, $1::int) AS i"""

_LISTEN = "floor"
_TRIGGER = f"""
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('{_LISTEN}', ''); RETURN NULL; END $$;
CREATE TRIGGER tell AFTER INSERT ON embedding_tasks FOR EACH STATEMENT EXECUTE FUNCTION tell()"""


class Floor:
    """See the module."""

    setting = f"{BATCH} tasks per transaction, {CONNECTIONS} connections"
    insert = single.INSERT

    async def prepare(self, url: str) -> None:
        """Tables of sql/001 and 002, and the one index that a claim needs."""
        connection = await asyncpg.connect(url)
        for file in ("001_articles.up.sql", "002_queue.up.sql"):
            await connection.execute((SQL / file).read_text())
        await connection.execute(_INDEX)
        await connection.execute(single.ARTICLES)
        await connection.close()

    async def enqueue(self, url: str, jobs: int) -> float:
        """One statement per 1,000."""
        connection = await asyncpg.connect(url)
        began = perf_counter()
        for start in range(0, jobs, 1_000):
            await connection.execute(QUEUE, min(1_000, jobs - start))
        seconds = perf_counter() - began
        await connection.close()
        return seconds

    async def drain(self, url: str, gate: Gate) -> float:
        """Several loops of claim and completion."""
        connections = [await asyncpg.connect(url) for _ in range(CONNECTIONS)]

        async def work(connection: asyncpg.Connection[asyncpg.Record]) -> None:
            while rows := await connection.fetch(CLAIM, BATCH):
                await connection.execute(COMPLETE, [row["id"] for row in rows])

        await gate()
        began = perf_counter()
        await asyncio.gather(*(work(connection) for connection in connections))
        seconds = perf_counter() - began
        for connection in connections:
            await connection.close()
        return seconds

    async def serve(self, url: str, started: Started) -> None:
        """LISTEN, claim one, complete it."""
        connection, listener = await asyncpg.connect(url), await asyncpg.connect(url)
        await connection.execute(_TRIGGER)
        wake = asyncio.Event()
        await listener.add_listener(_LISTEN, lambda *_: wake.set())
        while True:
            wake.clear()
            while rows := await connection.fetch(CLAIM, BATCH):
                for _ in rows:
                    started()
                await connection.execute(COMPLETE, [row["id"] for row in rows])
            await wake.wait()


CONTENDER = Floor()
