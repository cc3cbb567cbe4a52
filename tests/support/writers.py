"""An article application that keeps writing, and how long it had to wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.databases import Connection, Database

_WRITES = (
    """INSERT INTO embedding_tasks (id, article_id, slug, operation)
       VALUES (md5(random()::text || clock_timestamp()::text)::uuid, 1, 'article-1', 'update')""",
    """UPDATE embedding_tasks SET status = 'processing', processed_at = now()
       WHERE id = (SELECT id FROM embedding_tasks WHERE status = 'pending'
                   LIMIT 1 FOR UPDATE SKIP LOCKED)""",
    """UPDATE embedding_tasks SET status = 'completed', completed_at = now()
       WHERE id = (SELECT id FROM embedding_tasks WHERE status = 'processing'
                   LIMIT 1 FOR UPDATE SKIP LOCKED)""",
    "UPDATE articles SET content = content || '.' WHERE id = 1 + (random() * 49)::int",
    """INSERT INTO articles (title, slug, content)
       VALUES ('New', 'new-' || md5(random()::text || clock_timestamp()::text), 'text')""",
    "DELETE FROM articles WHERE id = (SELECT max(id) FROM articles WHERE slug LIKE 'new-%')",
    "UPDATE embedding_worker_status SET last_heartbeat = now(), tasks_processed = tasks_processed + 1",
)


@dataclass(slots=True)
class Waits:
    """How the writers fared.

    Attributes:
        writes: Statements that came back.
        longest_s: Seconds of the slowest.
    """

    writes: int = 0
    longest_s: float = 0.0
    running: list[asyncio.Task[None]] = field(default_factory=list)


@asynccontextmanager
async def busy_writers(database: Database, number: int = 3) -> AsyncIterator[Waits]:
    """Write without pause while the block runs; an error of a writer is raised at its end.

    Args:
        database: With the public tables.
        number: Connections that write.
    """
    waits, ended = Waits(), asyncio.Event()
    for _ in range(number):
        waits.running.append(asyncio.create_task(_write(await database.connect(), waits, ended)))
    try:
        yield waits
    finally:
        ended.set()
        await asyncio.gather(*waits.running)


async def _write(connection: Connection, waits: Waits, ended: asyncio.Event) -> None:
    while not ended.is_set():
        for statement in _WRITES:
            started = time.monotonic()
            await connection.execute(statement)
            waits.writes += 1
            waits.longest_s = max(waits.longest_s, time.monotonic() - started)
            await asyncio.sleep(0.002)
