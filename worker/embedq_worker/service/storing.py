"""Storing what has been embedded in a database that may be locked, sick, or slow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import inf
from time import monotonic
from typing import TypeVar
from uuid import UUID

import asyncpg

from embedq_worker.backoff import Backoff
from embedq_worker.database.connections import Pool
from embedq_worker.database.failures import (
    EXPECTED_ERRORS,
    PERSISTING,
    is_of_the_data,
    is_sick,
    one_line,
    persist,
)
from embedq_worker.errors import SchemaError
from embedq_worker.insights.doctor import require_ground
from embedq_worker.queue import claims
from embedq_worker.queue.claims import Completion, Return, ReturnKind, Scope
from embedq_worker.schema.storage import VectorStorage
from embedq_worker.service.refusals import ALONE_S, Refusals

T = TypeVar("T")

CONTENTION = Backoff(0.02, 0.5)
CONTENTION_TRIES = 10
"""About three seconds; the task of an article locked for longer is returned."""

CONTENDED_S = 15.0
"""Seconds until the next try then: it costs the provider's requests once more. A save in the meantime does
not wait for that, as it has a task of its own."""

TOGETHER_S = 60.0
"""Seconds in which a batch must be completed as a whole; after that, each of its tasks on its own."""

_CHUNKS_TOGETHER = 100
"""Chunks that are stored in one transaction, unless one article has more: sql/008, which has the same limit,
then locks only its key. Who deletes an article, or locks it FOR UPDATE, waits for the end of its transaction:
with an index of vectors, milliseconds per chunk."""

_LOCK_S = 0.3
"""Seconds that a completion waits for a lock. It has locked its articles, whose saves wait with it; and it
gives up before deadlock_timeout, so that a program that saves one of them is never a deadlock's victim."""


@dataclass(eq=False, slots=True)
class _Batch:
    """Completions on their way into the database.

    Attributes:
        refused: It refused one of them in the last try.
        alone_s: Seconds for which what is left is then left alone; 0 while the database does not work anyway.
    """

    settled: Callable[[Mapping[UUID, str]], None]
    ends: float
    returns: list[Return] = field(default_factory=list)
    refused: bool = False
    alone_s: float = 0.0
    reason: str = "the article, or a table, is locked by another session"


class Storing:
    """Completes tasks; a task that the database does not store holds up no other.

    Args:
        pool: To the migrated database.
        scope: Who claimed the tasks.
        storage: How the database stores vectors.
        refusals: Are told what the database refuses.
        backoff: Delay between the attempts of a task.
        patience_s: Seconds for which a batch is kept while the database refuses it. Well below the time after
            which its claims are stuck, or a locked table would cost an attempt.
    """

    def __init__(
        self,
        pool: Pool,
        scope: Scope,
        storage: VectorStorage,
        refusals: Refusals,
        backoff: Backoff,
        patience_s: float,
    ) -> None:
        self._pool = pool
        self._scope = scope
        self._storage = storage
        self._refusals = refusals
        self._backoff = backoff
        self._patience_s = patience_s

    async def complete(
        self, completions: Sequence[Completion], settled: Callable[[Mapping[UUID, str]], None]
    ) -> list[Return]:
        """Complete tasks, until each is settled or must be given back.

        Args:
            completions: At most one per article.
            settled: Called with outcomes by task, as soon as they are known.

        Returns:
            What has to be given back.

        Raises:
            EmbedqError: The database accepts no embeddings of any task.
        """
        batch = _Batch(settled, monotonic() + self._patience_s)
        left = list(completions)
        try:
            for tries in count(1):
                batch.refused = False
                together_s = min(TOGETHER_S, self._patience_s / 2)
                contended = await self._each(_portions(left), batch, within_s=together_s)
                left = [item for item in left if item.task.id in contended]
                if not left or monotonic() > batch.ends or (tries >= CONTENTION_TRIES and not batch.refused):
                    break
                await asyncio.sleep((PERSISTING if batch.refused else CONTENTION).delay_s(tries - 1))
        finally:
            self._refusals.ended(batch, after_s=batch.alone_s if left else 0.0)
        delay_s = batch.alone_s or CONTENDED_S
        released = [Return(item.task, ReturnKind.RELEASE, batch.reason, delay_s=delay_s) for item in left]
        return batch.returns + released

    async def _each(
        self, portions: Iterable[Sequence[Completion]], batch: _Batch, *, within_s: float
    ) -> set[UUID]:
        """Complete portion by portion; return the tasks that are to be tried again."""
        contended: set[UUID] = set()
        for portion in portions:
            if contended and monotonic() > batch.ends:
                contended.update(completion.task.id for completion in portion)
            else:
                contended |= await self._store(portion, batch, within_s=0.0 if batch.refused else within_s)
        return contended

    async def _store(self, completions: Sequence[Completion], batch: _Batch, *, within_s: float) -> set[UUID]:
        """Complete all in one transaction; return the tasks that are to be tried again.

        If the database refuses one of them, or does not get it done in time, complete each on its own.
        """
        lock_s = min(_LOCK_S, self._patience_s / 10)
        try:
            outcomes = await self._persist(
                lambda: claims.complete(self._pool, self._scope, self._storage, completions, lock_s=lock_s),
                batch,
                within_s=within_s,
            )
        except EXPECTED_ERRORS as error:
            if len(completions) == 1:
                return await self._refused(completions[0], error, batch)
            return await self._each([[each] for each in completions], batch, within_s=0.0)
        batch.settled({task: outcome for task, outcome in outcomes.items() if outcome != "contended"})
        return {task for task, outcome in outcomes.items() if outcome == "contended"}

    async def _refused(self, completion: Completion, error: BaseException, batch: _Batch) -> set[UUID]:
        task = completion.task
        if not is_sick(error):
            await self._persist(self.require_same_ground, batch)
        if is_of_the_data(error):
            text = f"the database rejects the embeddings: {one_line(error)}"
            batch.returns.append(
                Return(task, ReturnKind.RETRY, text, delay_s=self._backoff.delay_s(task.attempts))
            )
            return set()
        batch.refused = True
        if not is_sick(error) or isinstance(error, asyncpg.QueryCanceledError):
            batch.alone_s = ALONE_S
            batch.ends = min(batch.ends, monotonic() + ALONE_S)
        self._refusals.refused(batch, error)
        if not isinstance(error, asyncpg.LockNotAvailableError):
            batch.reason = f"the database does not store the embeddings: {one_line(error)}"
        return {task.id}

    async def require_same_ground(self) -> None:
        """Make sure that the preconditions of the worker still hold; otherwise no task is at fault.

        Raises:
            EmbedqError: They do not.
            One of `failures.EXPECTED_ERRORS`: It cannot be found out.
        """
        async with self._pool.acquire() as connection:
            storage = await require_ground(connection)
        if not storage.takes_the_same_as(self._storage):
            raise SchemaError(
                "the column for vectors was altered while this worker was running", "restart the worker"
            )

    async def _persist(self, call: Callable[[], Awaitable[T]], batch: _Batch, *, within_s: float = inf) -> T:
        return await persist(call, lambda error: self._refusals.refused(batch, error), within_s=within_s)


def _portions(completions: Sequence[Completion]) -> Iterator[list[Completion]]:
    """Cut a batch into parts of at most `_CHUNKS_TOGETHER` chunks, or of one article."""
    portion: list[Completion] = []
    chunks = 0
    for completion in completions:
        chunks += len(completion.chunks)
        if portion and chunks > _CHUNKS_TOGETHER:
            yield portion
            portion, chunks = [], len(completion.chunks)
        portion.append(completion)
    if portion:
        yield portion
