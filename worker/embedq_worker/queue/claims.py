"""A worker's writes to the queue: claim, complete, return. Each is one round trip for a whole batch.

The rules are in sql/007_claim, 008_complete and 011_return; this module gives them types.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import asyncpg

from embedq_worker.database.codecs import encode_vector
from embedq_worker.database.connections import COMMAND_TIMEOUT_S, Pool
from embedq_worker.database.encoding import encodable
from embedq_worker.database.kept import KeptConnection
from embedq_worker.providers.base import Vector
from embedq_worker.schema.storage import VectorStorage

HEADING_SEPARATOR = "\x1f"

_CHUNK_WITHIN_S = 0.1
"""Seconds a completion may take for each chunk: a vector index that is not in memory is slow to grow."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a worker processes.

    Attributes:
        worker: Its id in embedq_workers.
        provider: Key of the circuit breaker; while that is open, only deletes are claimed.
        model: Name of the model, which decides which stored vectors can be reused.
        priorities: None for all.
        folders: None for all; a folder includes its subfolders.
    """

    worker: UUID
    provider: str
    model: str
    priorities: tuple[str, ...] | None = None
    folders: tuple[str, ...] | None = None


class ArticleText(NamedTuple):
    """An article as read by the claim; a tuple, because a worker makes thousands of them per second.

    Attributes:
        source: Its embedq_source(); completion compares it to find out whether the article has changed since.
        hashes: Content hashes of chunks that have a stored vector of our model.
    """

    id: int
    title: str
    slug: str
    content: str
    no_rag: bool
    source: str
    hashes: frozenset[str]


class ClaimedTask(NamedTuple):
    """A claimed task. `token` and `claimed_at` are its fencing token: every write for the claim carries them.

    Attributes:
        attempts: Attempts charged before this one.
        article: None if it does not exist (any more).
    """

    id: UUID
    article_id: int | None
    operation: str
    priority: str
    attempts: int
    token: int
    claimed_at: datetime
    scheduled_at: datetime
    article: ArticleText | None


class Place(NamedTuple):
    """Position of a task within its priority."""

    due: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk to be stored; with `vector` None, the stored vector of the same hash and model is kept."""

    index: int
    heading_path: tuple[str, ...]
    text: str
    content_hash: str
    vector: Vector | None


class CompletionKind(StrEnum):
    """How a task is completed."""

    STORE = "store"
    SKIP = "skip"
    DELETE = "delete"


class Completion(NamedTuple):
    """A task whose work is done, ready to be stored.

    Attributes:
        chunks: All chunks of the article, with `CompletionKind.STORE`.
        note: A warning for the audit log; empty for none.
    """

    task: ClaimedTask
    kind: CompletionKind
    chunks: Sequence[StoredChunk] = ()
    note: str = ""


class ReturnKind(StrEnum):
    """Why a task is returned; sql/011_return decides what follows."""

    RETRY = "retry"
    FINAL = "final"
    RELEASE = "release"
    ISOLATE = "isolate"


@dataclass(frozen=True, slots=True)
class Return:
    """A task that did not lead to embeddings.

    Attributes:
        error: One line without secrets.
        detail: Stack trace, for bugs of embedq.
        delay_s: Seconds until it is due again.
    """

    task: ClaimedTask
    kind: ReturnKind
    error: str
    detail: str | None = None
    delay_s: float = 0.0


async def claim(
    pool: Pool | KeptConnection,
    scope: Scope,
    limit: int,
    after: Sequence[Place | None] = (),
    *,
    deletes_only: bool = False,
) -> list[ClaimedTask]:
    """Claim due tasks, each with its article, at most one per article.

    Args:
        pool: To the migrated database.
        scope: Who claims, and what.
        limit: Maximum number of tasks.
        after: By priority, the position from which to look for tasks; see `low_water`. Empty for all.
        deletes_only: Claim no task for which the provider is needed.

    Returns:
        Tasks in order: high before normal before low, then by due time. Empty if nothing is due, or while an
        operator has stopped or paused the workers.
    """
    dues, ids = [place and place.due for place in after], [place and place.id for place in after]
    rows = await pool.fetch(
        "SELECT * FROM embedq_claim($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        scope.worker,
        scope.provider,
        scope.model,
        limit,
        scope.priorities,
        scope.folders,
        dues,
        ids,
        deletes_only,
    )
    return [_claimed(row) for row in rows]


def _claimed(row: asyncpg.Record) -> ClaimedTask:
    """A task from a row of embedq_claim, whose columns are in the order of the fields."""
    # Made as bare tuples: constructors written in Python would be half of the time this takes.
    *task, found, title, slug, content, no_rag, source, hashes = row
    article = None
    if found is not None:
        article = tuple.__new__(ArticleText, (found, title, slug, content, no_rag, source, frozenset(hashes)))
    return tuple.__new__(ClaimedTask, (*task, article))


@dataclass(slots=True)
class _ChunkColumns:
    """Chunks of a batch as columns, which is how they are sent."""

    article: list[int] = field(default_factory=list)
    index: list[int] = field(default_factory=list)
    chunk_id: list[str] = field(default_factory=list)
    heading: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    hash: list[str] = field(default_factory=list)
    vector: list[bytes | str | None] = field(default_factory=list)

    def add(self, article: ArticleText, chunk: StoredChunk, *, as_json: bool) -> None:
        self.article.append(article.id)
        self.index.append(chunk.index)
        self.chunk_id.append(chunk_id(article.slug, chunk.index))
        self.heading.append(HEADING_SEPARATOR.join(chunk.heading_path))
        self.text.append(chunk.text)
        self.hash.append(chunk.content_hash)
        self.vector.append(_sent(chunk.vector, as_json=as_json))


def _sent(vector: Vector | None, *, as_json: bool) -> bytes | str | None:
    if vector is None:
        return None
    return json.dumps(vector.tolist()) if as_json else encode_vector(vector)


def chunk_id(slug: str, index: int) -> str:
    """``SLUG.md#INDEX``; the slug is truncated if the whole would exceed 255 characters."""
    tail = f".md#{index}"
    return slug[: 255 - len(tail)] + tail


async def complete(
    pool: Pool,
    scope: Scope,
    storage: VectorStorage,
    completions: Sequence[Completion],
    *,
    lock_s: float = 0.3,
) -> dict[UUID, str]:
    """Store the embeddings of tasks and complete them, all in one transaction.

    Args:
        pool: To the migrated database.
        scope: Who claimed them, and the model of the vectors.
        storage: How this database stores vectors.
        completions: At most one per article.
        lock_s: Seconds to wait for a lock, such as that of a CREATE INDEX.

    Returns:
        Outcome by task id: stored, skipped, removed, gone, changed, lost or contended; coalesced, of those
        completed along with these. See sql/008_complete.
    """
    chunks = _ChunkColumns()
    for completion in completions:
        article = completion.task.article
        if completion.kind is CompletionKind.STORE and article is not None:
            for chunk in completion.chunks:
                chunks.add(article, chunk, as_json=storage.schema is None)
    tasks = [completion.task for completion in completions]
    notes = [completion.note or None for completion in completions]
    rows = await pool.fetch(
        # The CASE has set_config() called first; it ends with the transaction, which is this statement.
        f"""SELECT task_id, outcome FROM set_config('lock_timeout', $18, true) AS waits
            CROSS JOIN LATERAL embedq_complete($1, CASE WHEN waits IS NOT NULL THEN $2 END, $3, $4, $5, $6,
                $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17::{storage.array_type})""",
        scope.worker,
        scope.model,
        [task.id for task in tasks],
        [task.token for task in tasks],
        [task.claimed_at for task in tasks],
        [task.article_id for task in tasks],
        [completion.kind for completion in completions],
        [task.article.source if task.article else None for task in tasks],
        [len(completion.chunks) for completion in completions],
        notes if any(notes) else [],  # unnest() fills up with null
        chunks.article,
        chunks.index,
        chunks.chunk_id,
        chunks.heading,
        chunks.text,
        chunks.hash,
        chunks.vector,
        f"{max(round(lock_s * 1000), 1)}ms",
        timeout=COMMAND_TIMEOUT_S + _CHUNK_WITHIN_S * len(chunks.article),
    )
    return {row["task_id"]: row["outcome"] for row in rows}


async def give_back(pool: Pool, scope: Scope, returns: Sequence[Return]) -> dict[UUID, str]:
    """End claims that did not lead to embeddings; waits if another session has locked one of the tasks.

    Args:
        pool: To the migrated database.
        scope: Scope of the worker that holds the claims.
        returns: Each claim, and why it ends.

    Returns:
        Outcome by task id: requeued; failed; changed, if an attempt failed with a text that the article no
        longer has; or lost, if the claim was no longer ours.
    """
    outcomes = await _return(pool, scope, returns)
    for item in returns:
        if outcomes[item.task.id] == "contended":
            outcomes |= await _return(pool, scope, [item])
    return outcomes


async def _return(pool: Pool, scope: Scope, returns: Sequence[Return]) -> dict[UUID, str]:
    rows = await encodable(
        lambda words: pool.fetch(
            "SELECT task_id, outcome FROM embedq_return($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            scope.worker,
            [item.task.id for item in returns],
            [item.task.token for item in returns],
            [item.task.claimed_at for item in returns],
            [item.kind.value for item in returns],
            [words(item.error) for item in returns],
            [item.detail and words(item.detail) for item in returns],
            [round(item.delay_s * 1000) for item in returns],
            [_tried(item.task) for item in returns],
        )
    )
    return {row["task_id"]: row["outcome"] for row in rows}


def _tried(task: ClaimedTask) -> str | None:
    """`ArticleText.source` of the text that was attempted; None if there was nothing to embed."""
    article = task.article
    return None if article is None or article.no_rag or task.operation == "delete" else article.source
