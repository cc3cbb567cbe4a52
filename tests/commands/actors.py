"""Those whom an operator watches: workers, as rows."""

from __future__ import annotations

from uuid import UUID, uuid4

from tests.support.databases import DIMENSIONS, Connection
from tests.support.vector_storage import vector_column

MODEL = "openai/stub"
"""Name under which the commands of the tests store and look for vectors."""


async def start_worker(connection: Connection, *, silent: str = "0 s") -> UUID:
    """Enter a worker that beat a while ago."""
    worker = uuid4()
    await connection.execute(
        "SELECT embedq_worker_start($1, 'build-7', 4711, 'key', '0.1.0', 'm e', '{\"batch_size\": 5}')",
        worker,
    )
    await connection.execute(
        "UPDATE embedq_workers SET heartbeat_at = clock_timestamp() - $2::text::interval WHERE id = $1",
        worker,
        silent,
    )
    async with connection.transaction():  # as if it alone had written the row of the fleet
        await connection.execute("SET LOCAL embedq.quiet = 'on'")
        await connection.execute(
            """UPDATE embedding_worker_status SET last_heartbeat = clock_timestamp() - $1::text::interval,
                                                  started_at = now() - interval '1 day'""",
            silent,
        )
    return worker


async def embed(connection: Connection, article: int, *, model: str = MODEL) -> None:
    """Store one vector for an article, as if a worker of ours had embedded its current text."""
    column = await vector_column(connection)
    kind = "jsonb" if column == "vector_data" else "vector"
    await connection.execute(
        f"""INSERT INTO embeddings (article_id, chunk_id, chunk_index, heading_path, text_content,
                                    content_hash, {column}, model)
            SELECT id, slug || '.md#0', 0, ARRAY['Part'], content, 'hash', $2::text::{kind}, $3
            FROM articles WHERE id = $1""",
        article,
        str([1.0] + [0.0] * (DIMENSIONS - 1)),
        model,
    )
    await connection.execute(
        """INSERT INTO embedq_articles (article_id, source, model, chunks, embedded_at)
           SELECT id, embedq_source(title, slug, content), $2, 1, now() FROM articles WHERE id = $1""",
        article,
        model,
    )
    await connection.execute(
        "UPDATE embedding_tasks SET status = 'completed', completed_at = now() WHERE article_id = $1", article
    )


async def let_hold(connection: Connection, worker: UUID, task: UUID | None = None) -> None:
    """Let a worker hold a task, claimed just now; None for all there are."""
    await connection.execute(
        """UPDATE embedding_tasks
           SET status = 'processing', processed_at = now(), claimed_at = now(), worker_id = $1
           WHERE id = coalesce($2, id)""",
        worker,
        task,
    )
