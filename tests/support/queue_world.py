"""A queue with several workers and an operator in psql, for the tests of the queue."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from embedq_worker.content.chunking import content_hash
from embedq_worker.database.connections import Pool, open_pool
from embedq_worker.process.host import HostIdentity
from embedq_worker.providers.base import Vector
from embedq_worker.queue import claims, fleet
from embedq_worker.queue.claims import (
    ClaimedTask,
    Completion,
    CompletionKind,
    Return,
    ReturnKind,
    Scope,
    StoredChunk,
)
from embedq_worker.schema.storage import VectorStorage, inspect_storage
from tests.support.content import add_articles
from tests.support.databases import DIMENSIONS, Connection, Database
from tests.support.vector_storage import store_as_json

MODEL = "test/model"
PROVIDER = "test/model http://provider.test"
SIZE = 12
"""Connections of the pool."""

HEADINGS = ("Heading", "Of three words")
"""Of all chunks."""

BOTH_STORAGES = pytest.mark.parametrize(
    "world", [pytest.param("vector", marks=pytest.mark.pgvector), "jsonb"], indirect=True
)
"""For tests that store vectors."""

RESET = """UPDATE embedding_tasks SET status='pending', processed_at=NULL
           WHERE status='processing' AND processed_at < NOW() - INTERVAL '30 minutes'"""
"""As in the operator's runbook."""

_WAITING = """SELECT count(*) FROM pg_stat_activity
              WHERE datname = current_database() AND wait_event_type = 'Lock'"""


def vector_of(text: str) -> Vector:
    """The one vector of a text."""
    return array("f", [byte / 255 for byte in sha256(text.encode()).digest()[:DIMENSIONS]])


def chunks_of(text: str, *, reuse: frozenset[str] = frozenset()) -> list[StoredChunk]:
    """A chunk per line of a text; without a vector where its hash is in `reuse`."""
    chunks = []
    for index, line in enumerate(filter(None, text.splitlines())):
        digest = content_hash(line)
        vector = None if digest in reuse else vector_of(line)
        chunks.append(StoredChunk(index, HEADINGS, line, digest, vector))
    return chunks


def completion_of(task: ClaimedTask, *, note: str = "") -> Completion:
    """What a worker makes of a task: it reuses what it can, and does not look at the database again."""
    article = task.article
    if task.operation == "delete" or article is None:
        return Completion(task, CompletionKind.DELETE)
    if article.no_rag:
        return Completion(task, CompletionKind.SKIP)
    return Completion(task, CompletionKind.STORE, chunks_of(article.content, reuse=article.hashes), note)


@dataclass(frozen=True, slots=True)
class World:
    """One database with everyone who uses it.

    Attributes:
        database: Migrated.
        psql: The session of the operator and the article application.
        pool: The workers' connections.
        storage: How vectors are stored.
    """

    database: Database
    psql: Connection
    pool: Pool
    storage: VectorStorage

    # -- the article application

    async def article(self, content: str = "One line.", **values: Any) -> int:
        """Insert an article with a random slug."""
        (made,) = await add_articles(self.psql, [content], slug=f"article-{uuid4().hex[:12]}", **values)
        return made

    async def articles(self, count: int, content: str = "One line.", **values: Any) -> list[int]:
        """Insert articles with random slugs."""
        return await add_articles(self.psql, [content] * count, slug=f"many-{uuid4().hex[:12]}", **values)

    async def task(
        self,
        article: int | None,
        operation: str = "update",
        priority: str = "normal",
        *,
        due_s: float = -60.0,
        made_s: float = -60.0,
        max_attempts: int = 3,
    ) -> UUID:
        """Queue a task.

        Args:
            article: Of the task.
            operation: Of the task.
            priority: Of the task.
            due_s: When it is due, seconds from now.
            made_s: When it was made, seconds from now.
            max_attempts: Of the task.
        """
        made: UUID = await self.psql.fetchval(
            """INSERT INTO embedding_tasks (article_id, operation, priority, max_attempts,
                                           scheduled_at, created_at)
               VALUES ($1, $2, $3, $4, now() + $5 * interval '1 second', now() + $6 * interval '1 second')
               RETURNING id""",
            article,
            operation,
            priority,
            max_attempts,
            due_s,
            made_s,
        )
        return made

    async def tasks(self, articles: Sequence[int], **values: Any) -> list[UUID]:
        """Queue a task per article; those of the same due time are claimed in the order of their ids."""
        return [await self.task(article, **values) for article in articles]

    # -- workers

    async def worker(
        self, *, priorities: tuple[str, ...] | None = None, folders: tuple[str, ...] | None = None
    ) -> Scope:
        """Register a worker."""
        scope = Scope(uuid4(), PROVIDER, MODEL, priorities, folders)
        await fleet.enter(self.pool, scope, HostIdentity("here", 1, ""), {"concurrency": 1})
        return scope

    async def claim(self, scope: Scope, limit: int = 100) -> list[ClaimedTask]:
        """Claim."""
        return await claims.claim(self.pool, scope, limit)

    async def claim_one(self, scope: Scope) -> ClaimedTask:
        """Claim the one task there is."""
        (task,) = await self.claim(scope)
        return task

    async def complete(self, scope: Scope, *tasks: ClaimedTask | Completion) -> list[str]:
        """Complete tasks.

        Returns:
            Outcomes, in the order of the tasks.
        """
        items = [item if isinstance(item, Completion) else completion_of(item) for item in tasks]
        outcomes = await claims.complete(self.pool, scope, self.storage, items)
        return [outcomes[item.task.id] for item in items]

    async def give_back(
        self, scope: Scope, *tasks: ClaimedTask, kind: ReturnKind = ReturnKind.RETRY, delay_s: float = 0.0
    ) -> list[str]:
        """Return tasks.

        Returns:
            Outcomes, in the order of the tasks.
        """
        items = [Return(task, kind, "it went wrong", delay_s=delay_s) for task in tasks]
        outcomes = await claims.give_back(self.pool, scope, items)
        return [outcomes[task.id] for task in tasks]

    async def embed(self, article: int) -> None:
        """Have an article embedded, from task to vectors."""
        await self.task(article)
        scope = await self.worker()
        assert await self.complete(scope, await self.claim_one(scope)) == ["stored"]

    async def hold_provider(self, state: str = "open", seconds: float = 60.0) -> None:
        """Make the breaker hold requests back."""
        await self.psql.execute(
            """INSERT INTO embedq_providers (key, state, retry_at)
               VALUES ($1, $2, clock_timestamp() + $3 * interval '1 second')""",
            PROVIDER,
            state,
            seconds,
        )

    async def die(self, scope: Scope) -> None:
        """Let a worker be silent for an hour."""
        await self.psql.execute(
            "UPDATE embedq_workers SET heartbeat_at = now() - interval '1 hour' WHERE id = $1", scope.worker
        )

    async def rescue(self, *, limit: int = 100) -> list[fleet.Rescued]:
        """Take back tasks of silent workers, and claims older than half an hour."""
        return await fleet.rescue(self.pool, dead_s=45, stuck_s=1_800, limit=limit)

    # -- the state of the database

    async def row(self, task: UUID) -> asyncpg.Record:
        """A task as it is."""
        row = await self.psql.fetchrow("SELECT * FROM embedding_tasks WHERE id = $1", task)
        assert row is not None
        return row

    async def status(self, task: UUID) -> str:
        """Status of a task."""
        return str((await self.row(task))["status"])

    async def embeddings(self, article: int) -> list[asyncpg.Record]:
        """Rows of an article, vectors as ``vector``."""
        column = "vector_data::text" if self.storage.schema is None else "vector::text"
        return await self.psql.fetch(
            f"""SELECT id, chunk_id, chunk_index, heading_path, text_content, content_hash, model, created_at,
                       {column} AS vector FROM embeddings WHERE article_id = $1 ORDER BY chunk_index""",
            article,
        )

    async def texts(self, article: int) -> list[str]:
        """What an article's embeddings were made from."""
        return [row["text_content"] for row in await self.embeddings(article)]

    async def audited(self, task: UUID) -> int:
        """Audit rows of a task."""
        count: int = await self.psql.fetchval(
            "SELECT count(*) FROM embedding_audit_logs WHERE task_id = $1", task
        )
        return count

    async def miscounted(self) -> list[asyncpg.Record]:
        """Maintained counts that differ from the rows."""
        return await self.psql.fetch(
            """SELECT * FROM
                 (SELECT status::text, priority::text, n FROM embedq_live_counts WHERE n <> 0
                  UNION ALL
                  SELECT 'group', fingerprint, n FROM embedq_live_failures WHERE n <> 0) AS kept
               FULL JOIN
                 (SELECT coalesce(status, '')::text AS status, coalesce(priority, '')::text AS priority,
                         count(*) AS n
                  FROM embedding_tasks GROUP BY 1, 2
                  UNION ALL
                  SELECT 'group', embedq_fingerprint(error_message), count(*)
                  FROM embedding_tasks WHERE status = 'failed' GROUP BY 2) AS counted
               USING (status, priority)
               WHERE kept.n IS DISTINCT FROM counted.n"""
        )


async def waiters(world: World, count: int, *, within_s: float = 5.0) -> None:
    """Wait until this many sessions of this database wait for a lock."""
    watch = await world.database.connect()
    async with asyncio.timeout(within_s):
        while count > await watch.fetchval(_WAITING):  # noqa: ASYNC110 - the condition is another program's state
            await asyncio.sleep(0.005)
    await watch.close()


@asynccontextmanager
async def open_world(database: Database, storage: str | None = None) -> AsyncIterator[World]:
    """Open a world on a migrated database.

    Args:
        database: Empty but for its tables.
        storage: ``jsonb`` for a database as it is without pgvector; else as the server has it.
    """
    psql = await database.connect()
    try:
        if storage == "jsonb":
            await store_as_json(psql)
        async with open_pool(database.settings, "embedq-test", size=SIZE) as pool:
            yield World(database, psql, pool, await inspect_storage(psql))
    finally:
        await psql.close()


async def beat(
    world: World,
    scope: Scope,
    *,
    state: str = "running",
    succeeded: int = 1,
    failed: int = 0,
    concurrency: int | None = None,
) -> fleet.Beat:
    """Beat, with one task done."""
    return await fleet.beat(
        world.pool,
        scope.worker,
        state=state,
        note="",
        in_hand=0,
        succeeded=succeeded,
        failed=failed,
        concurrency=concurrency,
    )
