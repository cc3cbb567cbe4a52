"""Store drafts of articles by slug, and queue a task for each whose embeddings must be computed again.

The rules are in sql/012_bulk (`embedq_store_articles`); this module adds types, batches and counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import asyncpg

from embedq_worker.content.importing import ArticleDraft, Skipped
from embedq_worker.database.connections import Connection
from embedq_worker.database.failures import one_line
from embedq_worker.database.locks import ROWS_TRIES, until_free
from embedq_worker.errors import EmbedqError
from embedq_worker.schema.task_values import Priority

Outcome = Literal["created", "updated", "unchanged"]
Item: TypeAlias = ArticleDraft | Skipped

BATCH_ARTICLES = 500
BATCH_CHARACTERS = 4_000_000
"""Keeps the statement for a batch of large files to some megabytes."""
MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class StoredArticle:
    """What became of a draft or, in a dry run, would become of it.

    Attributes:
        source: Where it came from.
        outcome: ``unchanged`` if nothing that the draft states differs; then nothing was written.
        queued: A task was queued, or a pending one covers it. False if nothing that is embedded has changed,
            and for a no_rag article without embeddings.
    """

    slug: str
    source: str
    outcome: Outcome
    queued: bool


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A part of an import, committed.

    Attributes:
        articles: In the order of the drafts.
        skipped: Files that could not be read, and drafts that the database rejected.
    """

    articles: Sequence[StoredArticle]
    skipped: Sequence[Skipped]


@dataclass(slots=True)
class ImportCounts:
    """Sums over the batches of an import."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    queued: int = 0
    skipped: int = 0

    @property
    def stored(self) -> int:
        """Articles that now match their files."""
        return self.created + self.updated + self.unchanged

    def add(self, batch: StoredBatch) -> None:
        """Add a batch."""
        for article in batch.articles:
            setattr(self, article.outcome, getattr(self, article.outcome) + 1)
            self.queued += article.queued
        self.skipped += len(batch.skipped)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How drafts are stored.

    Attributes:
        by: Operator, for created_by, updated_by and the audit log.
        max_attempts: max_attempts of the tasks.
        priority: Priority of the tasks.
        dry_run: Report what would happen, without writing or locking anything.
    """

    by: str
    max_attempts: int
    priority: Priority = "normal"
    dry_run: bool = False


async def store_articles(
    connection: Connection, items: Iterable[Item], options: ImportOptions
) -> AsyncIterator[StoredBatch]:
    """Store drafts in batches, with one round trip and one transaction each.

    Articles are matched by slug. Title, content and whatever else the draft states are compared, and only
    what it states is written. An interrupted import can be run again: what is stored already is unchanged.

    Args:
        connection: To a migrated database.
        items: From `importing.read_articles`, iterated in a thread; slugs must be unique.
        options: How they are stored.

    Yields:
        The result of each batch.

    Raises:
        EmbedqError: Another session kept an article locked all the time; earlier batches are stored.
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`; earlier batches are stored.
    """
    batches = _batches(iter(items))
    while (batch := await asyncio.to_thread(next, batches, None)) is not None:
        drafts = [item for item in batch if isinstance(item, ArticleDraft)]
        stored = await _store(connection, drafts, options) if drafts else StoredBatch((), ())
        unread = [item for item in batch if isinstance(item, Skipped)]
        yield StoredBatch(stored.articles, [*unread, *stored.skipped])


def _batches(items: Iterator[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    characters = 0
    for item in items:
        batch.append(item)
        characters += len(item.content) if isinstance(item, ArticleDraft) else 0
        if len(batch) >= BATCH_ARTICLES or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


async def _store(
    connection: Connection, drafts: Sequence[ArticleDraft], options: ImportOptions
) -> StoredBatch:
    """Store all in one transaction or, if the database rejects one of them, each on its own."""
    try:
        stored = await until_free(
            lambda: _store_once(connection, drafts, options), _held(drafts), tries=ROWS_TRIES
        )
        return StoredBatch(stored, ())
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.RaiseError) as error:
        if len(drafts) == 1:
            return StoredBatch(
                (), (Skipped(drafts[0].source, f"the database rejects it: {one_line(error)}"),)
            )
    single = [await _store(connection, [draft], options) for draft in drafts]
    return StoredBatch(
        [article for batch in single for article in batch.articles],
        [skipped for batch in single for skipped in batch.skipped],
    )


def _held(drafts: Sequence[ArticleDraft]) -> EmbedqError:
    return EmbedqError(
        f"another session keeps one of {len(drafts)} articles locked, from {drafts[0].source} on",
        "end long transactions (see pg_stat_activity), then import again",
    )


async def _store_once(
    connection: Connection, drafts: Sequence[ArticleDraft], options: ImportOptions
) -> list[StoredArticle]:
    rows = await connection.fetch(
        """SELECT place, outcome, queued FROM embedq_store_articles($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
           ORDER BY place""",
        [draft.slug for draft in drafts],
        [draft.title for draft in drafts],
        [draft.content for draft in drafts],
        [draft.folder for draft in drafts],
        [draft.is_public for draft in drafts],
        [draft.no_rag for draft in drafts],
        options.by[:MAX_NAME],
        options.priority,
        options.max_attempts,
        options.dry_run,
    )
    return [
        StoredArticle(draft.slug, draft.source, row["outcome"], row["queued"])
        for draft, row in zip(drafts, rows, strict=True)
    ]
