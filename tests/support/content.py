"""Write articles and tasks as another program does, and check their embeddings."""

from __future__ import annotations

import asyncio
import json
from array import array
from collections.abc import Iterable, Sequence
from uuid import UUID, uuid4

from embedq_worker.content.chunking import embedding_input, split_markdown
from tests.support.databases import DIMENSIONS, Connection
from tests.support.provider_stub import stub_vector
from tests.support.vector_storage import vector_column


async def add_articles(
    connection: Connection,
    contents: Iterable[str],
    *,
    slug: str = "article",
    folder: str = "",
    no_rag: bool = False,
) -> list[int]:
    """Insert articles named ``SLUG-0``, ``SLUG-1``, ...

    Returns:
        Their ids, in order.
    """
    texts = list(contents)
    rows = await connection.fetch(
        """INSERT INTO articles (title, slug, content, folder, no_rag)
           SELECT 'Title of ' || $2::text || '-' || place - 1, $2 || '-' || place - 1, content, $3, $4
           FROM unnest($1::text[]) WITH ORDINALITY AS t(content, place) ORDER BY place RETURNING id""",
        texts,
        slug,
        folder,
        no_rag,
    )
    return sorted(row["id"] for row in rows)


async def queue_tasks(
    connection: Connection,
    articles: Sequence[int],
    *,
    operation: str = "create",
    priority: str = "normal",
    max_attempts: int = 3,
) -> list[UUID]:
    """Queue a task per article, in this order.

    Returns:
        Their ids, in order.
    """
    rows = await connection.fetch(
        """INSERT INTO embedding_tasks (article_id, slug, operation, priority, max_attempts, scheduled_at)
           SELECT a.id, a.slug, $2, $3, $4, now() - interval '1 minute' + place * interval '1 microsecond'
           FROM unnest($1::int[]) WITH ORDINALITY AS t(article, place) JOIN articles a ON a.id = article
           ORDER BY place RETURNING id, article_id""",
        list(articles),
        operation,
        priority,
        max_attempts,
    )
    by_article = {row["article_id"]: row["id"] for row in rows}
    return [by_article[article] for article in articles]


async def queued_articles(
    connection: Connection, count: int, *, slug: str = "article", priority: str = "normal"
) -> list[int]:
    """Insert short articles, each with a task.

    Returns:
        Ids of the articles.
    """
    contents = [f"Text number {number} of {slug}." for number in range(count)]
    articles = await add_articles(connection, contents, slug=slug)
    await queue_tasks(connection, articles, priority=priority)
    return articles


async def failed_tasks(connection: Connection, count: int, error: str = "boom") -> list[UUID]:
    """Insert short articles whose tasks failed.

    Returns:
        Ids of the tasks.
    """
    articles = await queued_articles(connection, count, slug=f"failed-{uuid4().hex[:6]}")
    rows = await connection.fetch(
        """UPDATE embedding_tasks SET status = 'failed', attempts = 3, error_message = $2,
                  completed_at = now()
           WHERE article_id = ANY ($1::int[]) RETURNING id""",
        articles,
        error,
    )
    return [row["id"] for row in rows]


async def fail(connection: Connection, error: str | None, count: int = 1, *, completed: bool = True) -> str:
    """Insert failed tasks without an article, whose errors differ in the number that replaces ``{}``.

    Returns:
        The fingerprint of their group.
    """
    await connection.execute(
        """INSERT INTO embedding_tasks (slug, operation, status, attempts, error_message, completed_at)
           SELECT 'slug-' || n, 'update', 'failed', 3, replace($1, '{}', n::text),
                  CASE WHEN $3 THEN now() - n * interval '1 second' END
           FROM generate_series(1, $2::int) AS n""",
        error,
        count,
        completed,
    )
    return str(await connection.fetchval("SELECT embedq_fingerprint(replace($1, '{}', '1'))", error))


async def end_pending_tasks(connection: Connection, *, failing: bool) -> None:
    """Keep completing pending tasks, as a worker of another program would."""
    while True:
        await connection.execute(
            """UPDATE embedding_tasks
               SET status = $1, completed_at = clock_timestamp(), error_message = 'again'
               WHERE status = 'pending'""",
            "failed" if failing else "completed",
        )
        await asyncio.sleep(0.01)


async def store_chunk(connection: Connection, *articles: int) -> None:
    """Insert one chunk of each article, without a vector."""
    await connection.executemany(
        """INSERT INTO embeddings (article_id, chunk_id, chunk_index, text_content)
           VALUES ($1, 'x.md#0', 0, 'words')""",
        [(article,) for article in articles],
    )


async def statuses(connection: Connection) -> dict[str, int]:
    """Number of tasks by status."""
    rows = await connection.fetch("SELECT status, count(*) AS n FROM embedding_tasks GROUP BY status")
    return {row["status"]: row["n"] for row in rows}


async def wrong_articles(connection: Connection, *, dimensions: int = DIMENSIONS) -> list[int]:
    """Articles whose embeddings differ from what the stub returns for their text, in default chunks.

    Args:
        connection: To the database.
        dimensions: Dimensions of a vector.
    """
    wrong = []
    stored = await _stored(connection)
    for row in await connection.fetch("SELECT id, title, slug, content, no_rag FROM articles ORDER BY id"):
        wanted: dict[int, tuple[str, list[float]]] = {}
        if not row["no_rag"]:
            for chunk in split_markdown(row["content"] or "", size=500, overlap=50):
                text = embedding_input(row["title"] or "", chunk)
                wanted[chunk.index] = (chunk.text, list(stub_vector(text, dimensions)))
        if stored.get(row["id"], {}) != wanted:
            wrong.append(row["id"])
    return wrong


async def _stored(connection: Connection) -> dict[int, dict[int, tuple[str, list[float]]]]:
    column = await vector_column(connection)
    rows = await connection.fetch(
        f"SELECT article_id, chunk_index, text_content, {column}::text AS vector FROM embeddings"
    )
    stored: dict[int, dict[int, tuple[str, list[float]]]] = {}
    for row in rows:
        vector = list(array("f", json.loads(row["vector"] or "[]")))  # as text it is rounded
        stored.setdefault(row["article_id"], {})[row["chunk_index"]] = (row["text_content"], vector)
    return stored


async def charged(connection: Connection) -> int:
    """Attempts on record, over all tasks."""
    return int(await connection.fetchval("SELECT coalesce(sum(attempts), 0) FROM embedding_tasks"))


async def until_tasks(connection: Connection, *, within_s: float = 20.0, **wanted: int) -> None:
    """Wait until the number of tasks by status is exactly this.

    Raises:
        TimeoutError: They were not in time.
    """
    async with asyncio.timeout(within_s):
        while await statuses(connection) != wanted:  # noqa: ASYNC110 - it is another program's work
            await asyncio.sleep(0.02)


async def until_true(
    connection: Connection, question: str, *arguments: object, within_s: float = 15.0
) -> None:
    """Wait until a query returns true.

    Raises:
        TimeoutError: It was not in time.
    """
    async with asyncio.timeout(within_s):
        while not await connection.fetchval(question, *arguments):  # noqa: ASYNC110 - another program's work
            await asyncio.sleep(0.02)


async def until_left(connection: Connection) -> None:
    """Wait until no console holds a connection to the database any more."""
    await until_true(
        connection,
        """SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
           AND application_name LIKE 'embedq-tui%')""",
    )


async def queued(connection: Connection) -> list[tuple[str, str]]:
    """Slug and operation of the pending tasks; takes them away."""
    rows = await connection.fetch(
        "DELETE FROM embedding_tasks WHERE status = 'pending' RETURNING slug, operation, created_at"
    )
    return [(row["slug"], row["operation"]) for row in sorted(rows, key=lambda row: (row[2], row[0]))]
