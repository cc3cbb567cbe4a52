"""Everything known about one task, and about one article."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.advice import advice_for
from embedq_worker.insights.articles import ArticleRow, article_row
from embedq_worker.insights.documents import document_of
from embedq_worker.insights.events import Event, event_of
from embedq_worker.insights.tasks import WHOLE, TaskRow, task_columns, task_of
from embedq_worker.queue.selection import PLAN
from embedq_worker.queue.wanted import parse_article_id

TIMELINE = 200
"""Number of events shown for a task, the newest ones."""

RELATED = 20
"""Number of tasks shown for an article, the newest ones."""


class TaskDetail(NamedTuple):
    """Everything known about a task.

    Attributes:
        at: The database's time.
        metadata: As stored.
        advice: What to do about its error; empty if it has not failed.
        stack_trace: The latest stack trace of its attempts.
        article: None if it does not exist (any more).
        timeline: What happened to it, in order; the oldest events may be missing.
        related: Other tasks of its article, newest first.
    """

    at: datetime
    task: TaskRow
    metadata: object
    advice: str
    stack_trace: str
    article: ArticleRow | None
    timeline: tuple[Event, ...]
    related: tuple[TaskRow, ...]


async def task_detail(
    connection: Connection, settings: Settings, task: UUID, *, longest: int = WHOLE
) -> TaskDetail | None:
    """Read one task.

    Args:
        connection: To the migrated database.
        settings: Of these, the model that embeddings should be from.
        task: Its id.
        longest: Maximum characters of an error or stack trace.

    Returns:
        None if there is no such task.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(PLAN)
        row = await connection.fetchrow(_ONE, task, longest)
        if row is None:
            return None
        events = await connection.fetch(_EVENTS, task, TIMELINE, longest)
        found = task_of(row)
        article: ArticleRow | None = None
        related: tuple[TaskRow, ...] = ()
        if found.article_id is not None:
            article = await article_row(connection, settings, found.article_id)
            related = await _tasks_of(connection, found.article_id, RELATED + 1, longest)
    timeline = tuple(event_of(event) for event in reversed(events))
    return TaskDetail(
        at=row["now"],
        task=found,
        metadata=document_of(row["metadata"]) if row["metadata"] else None,
        advice=advice_for(found.error, f"embedq-tui retry {task}") if found.status == "failed" else "",
        stack_trace=next((event.stack_trace for event in reversed(timeline) if event.stack_trace), ""),
        article=article,
        timeline=timeline,
        related=tuple(other for other in related if other.id != task)[:RELATED],
    )


_ONE = f"""
SELECT {task_columns("$2::int")}, t.metadata, clock_timestamp() AS now,
       coalesce(t.slug, (SELECT a.slug FROM articles a WHERE a.id = t.article_id)) AS slug
FROM embedding_tasks t WHERE t.id = $1
"""

_EVENTS = """
SELECT timestamp, level, category, message, metadata, duration,
       left(error, $3::int) AS error, left(stack_trace, $3::int) AS stack_trace
FROM embedding_audit_logs WHERE task_id = $1 ORDER BY task_id DESC, timestamp DESC LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A stored embedding, without its vector.

    Attributes:
        model: Empty if another program stored it without.
        characters: Length of its text.
    """

    index: int
    chunk_id: str
    heading_path: tuple[str, ...]
    characters: int
    content_hash: str
    model: str
    created_at: datetime | None


class ArticleDetail(NamedTuple):
    """An article with its tasks and embeddings.

    Attributes:
        at: The database's time.
        tasks: Newest first.
        chunks: In order.
    """

    at: datetime
    article: ArticleRow
    tasks: tuple[TaskRow, ...]
    chunks: tuple[ChunkRow, ...]


async def article_id(connection: Connection, key: str) -> int:
    """Find the id of an article.

    Args:
        connection: To the database.
        key: Its slug, or its id, even of a deleted article.

    Raises:
        EmbedqError: No article has this slug.
    """
    # Slugs come first: a slug may consist of digits, and it is what people know.
    found: int | None = await connection.fetchval("SELECT id FROM articles WHERE slug = $1", key)
    if found is not None:
        return found
    if (given := parse_article_id(key)) is not None:
        return given
    raise EmbedqError(f"there is no article {key!r}", "give its full slug, or its id if it has been deleted")


async def article_detail(connection: Connection, settings: Settings, article: int) -> ArticleDetail | None:
    """Read one article with what belongs to it.

    Args:
        connection: To the migrated database.
        settings: Of these, the model that embeddings should be from.
        article: Its id.

    Returns:
        None if there is no such article.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(PLAN)
        row = await article_row(connection, settings, article)
        if row is None:
            return None
        at = await connection.fetchval("SELECT clock_timestamp()")
        tasks = await _tasks_of(connection, article, RELATED)
        chunks = await connection.fetch(_CHUNKS, article)
    return ArticleDetail(at, row, tasks, tuple(_chunk(row) for row in chunks))


_CHUNKS = """
SELECT chunk_index AS index, coalesce(chunk_id, '') AS chunk_id, coalesce(heading_path, '{}') AS heading_path,
       coalesce(length(text_content), 0) AS characters, coalesce(content_hash, '') AS content_hash,
       coalesce(model, '') AS model, created_at
FROM embeddings WHERE article_id = $1 ORDER BY article_id, chunk_index
"""


async def chunk_text(connection: Connection, article: int, index: int) -> str | None:
    """The stored text of a chunk.

    Args:
        connection: To the migrated database.
        article: Id of its article.
        index: `ChunkRow.index`.

    Returns:
        None if there is no such chunk (any more).
    """
    text: str | None = await connection.fetchval(
        "SELECT coalesce(text_content, '') FROM embeddings WHERE article_id = $1 AND chunk_index = $2",
        article,
        index,
    )
    return text


def _chunk(row: asyncpg.Record) -> ChunkRow:
    return ChunkRow(**{**row, "heading_path": tuple(part or "" for part in row["heading_path"])})


async def _tasks_of(
    connection: Connection, article: int, limit: int, longest: int = WHOLE
) -> tuple[TaskRow, ...]:
    rows = await connection.fetch(_OF_ARTICLE, article, limit, longest)
    return tuple(task_of(row) for row in rows)


_OF_ARTICLE = f"""
SELECT {task_columns("$3::int")},
       coalesce(t.slug, (SELECT a.slug FROM articles a WHERE a.id = t.article_id)) AS slug
FROM embedding_tasks t WHERE t.article_id = $1 ORDER BY t.created_at DESC NULLS LAST, t.id DESC LIMIT $2
"""
