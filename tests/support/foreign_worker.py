"""The article application's own worker, as far as it matters: without our columns and fencing tokens.

It claims with its own query, deletes the chunks of an article and inserts them one by one, each in a
transaction of its own, embeds what it read at the claim, and completes by id alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from tests.support.databases import DIMENSIONS, Connection
from tests.support.provider_stub import stub_vector

_CLAIM = """
UPDATE embedding_tasks SET status = 'processing', processed_at = NOW(), attempts = attempts + 1
WHERE id = (
    SELECT id FROM embedding_tasks WHERE status = 'pending' AND scheduled_at <= NOW()
    ORDER BY CASE priority WHEN 'high' THEN 1 WHEN 'normal' THEN 2 WHEN 'low' THEN 3 END, created_at
    FOR UPDATE SKIP LOCKED LIMIT 1)
RETURNING id, article_id, operation
"""


@dataclass
class ForeignWorker:
    """One such worker.

    Args:
        connection: Used by nothing else.
        pause_s: Seconds its provider needs per article.

    Attributes:
        done: Tasks it completed.
    """

    connection: Connection
    pause_s: float = 0.005
    done: int = 0

    async def reset(self, older_s: float) -> None:
        """Take back tasks that look stuck, whoever holds them, as it does at startup.

        Args:
            older_s: Seconds since a task was claimed.
        """
        await self.connection.execute(
            """UPDATE embedding_tasks SET status = 'pending', processed_at = NULL
               WHERE status = 'processing' AND processed_at < NOW() - $1 * INTERVAL '1 second'""",
            older_s,
        )

    async def run(self) -> None:
        """Work for ever; ends by cancellation only."""
        while True:
            if not await self.work():
                await asyncio.sleep(0.02)

    async def work(self) -> bool:
        """Process one task; False if there was none."""
        task = await self.connection.fetchrow(_CLAIM)
        if task is None:
            return False
        try:
            await self._embed(task["article_id"], task["operation"])
        except asyncpg.PostgresError as error:
            await self.connection.execute(
                "UPDATE embedding_tasks SET status = 'pending', error_message = $2 WHERE id = $1",
                task["id"],
                str(error),
            )
            return True
        await self.connection.execute(
            "UPDATE embedding_tasks SET status = 'completed', completed_at = NOW() WHERE id = $1", task["id"]
        )
        await self.connection.execute(
            """UPDATE embedding_worker_status
               SET last_heartbeat = NOW(), tasks_processed = tasks_processed + 1,
                   tasks_succeeded = tasks_succeeded + 1"""
        )
        self.done += 1
        return True

    async def _embed(self, article: int, operation: str) -> None:
        text = await self.connection.fetchval("SELECT content FROM articles WHERE id = $1", article)
        await self.connection.execute("DELETE FROM embeddings WHERE article_id = $1", article)
        if operation == "delete" or text is None:
            return
        await asyncio.sleep(self.pause_s)
        for index, part in enumerate(_cut(text)):
            await self.connection.execute(
                """INSERT INTO embeddings
                       (article_id, chunk_id, chunk_index, text_content, content_hash, vector)
                   SELECT $1, slug || '.md#' || $2::int, $2, $3, md5($3), $4::text::vector
                   FROM articles WHERE id = $1""",
                article,
                index,
                part,
                json.dumps(list(stub_vector(part, DIMENSIONS))),
            )


def _cut(text: str) -> Sequence[str]:
    """Its chunker is another than ours."""
    return [text[start : start + 40] for start in range(0, len(text), 40)]
