"""Queue articles named by an operator, whatever is stored for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from embedq_worker.database.connections import Connection
from embedq_worker.database.locks import ROWS_TRIES, until_free
from embedq_worker.errors import EmbedqError
from embedq_worker.queue import operator_log
from embedq_worker.schema.task_values import Priority

BATCH = 1_000
"""Articles per transaction."""

# An article excluded from embedding gets a task only if it has embeddings to remove. Locking and queueing is
# one statement, so that slugs need not travel to the client and back; the function sees everything committed.
_QUEUE = """
WITH locked AS MATERIALIZED (
    SELECT id, slug, no_rag FROM articles WHERE id = ANY ($1::int[]) ORDER BY id FOR NO KEY UPDATE
), judged AS (
    SELECT l.id, l.slug, CASE WHEN l.no_rag IS NOT TRUE THEN 'update'
                              WHEN EXISTS (SELECT FROM embeddings e WHERE e.article_id = l.id) THEN 'delete'
                         END AS operation
    FROM locked l
), found AS MATERIALIZED (
    SELECT count(*) AS there, count(operation) AS wanted,
           array_agg(id ORDER BY id) FILTER (WHERE operation IS NOT NULL) AS ids,
           array_agg(slug ORDER BY id) FILTER (WHERE operation IS NOT NULL) AS slugs,
           array_agg(operation ORDER BY id) FILTER (WHERE operation IS NOT NULL) AS operations
    FROM judged
)
SELECT there, wanted,
       (SELECT count(*) FROM embedq_enqueue(ids, slugs, operations, $2::text, $3::int)) AS queued
FROM found
"""


@dataclass(slots=True)
class Requeued:
    """What became of articles that were to be queued.

    Attributes:
        queued: A task was queued.
        waiting: A pending task will be processed at least as early.
        excluded: Excluded from embedding, and without embeddings.
        gone: There is no such article.
    """

    queued: int = 0
    waiting: int = 0
    excluded: int = 0
    gone: int = 0

    @property
    def total(self) -> int:
        """Number of articles handled."""
        return self.queued + self.waiting + self.excluded + self.gone


async def queue_articles(
    connection: Connection,
    articles: Sequence[int],
    *,
    by: str,
    max_attempts: int,
    priority: Priority = "normal",
    outcome: Requeued | None = None,
    progress: Callable[[int], None] = lambda articles: None,
) -> Requeued:
    """Queue a task for each article, in batches with an audit row each.

    Args:
        connection: To a migrated database.
        articles: Their ids.
        by: Operator as ``user@host``.
        max_attempts: max_attempts of the tasks.
        priority: Priority of the tasks.
        outcome: Updated along the way, so that it also tells what an interrupted run has done.
        progress: Called after each batch with the number of articles handled.

    Raises:
        EmbedqError: Another session kept an article locked all the time; earlier batches are queued.
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`; earlier batches are queued.
    """
    done = outcome if outcome is not None else Requeued()
    wanted = sorted(set(articles))
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        held = EmbedqError(
            f"another session keeps one of {len(batch)} articles locked",
            "end long transactions (see pg_stat_activity), then queue them again",
        )
        once = partial(_once, connection, batch, by, priority, max_attempts)
        found = await until_free(once, held, tries=ROWS_TRIES)
        done.queued += found.queued
        done.waiting += found.waiting
        done.excluded += found.excluded
        done.gone += found.gone
        progress(done.total)
    return done


async def _once(
    connection: Connection, articles: Sequence[int], by: str, priority: Priority, max_attempts: int
) -> Requeued:
    async with connection.transaction():
        # Shorter than deadlock_timeout, as in sql/012_bulk, so that no other program is a deadlock victim.
        await connection.execute("SET LOCAL lock_timeout = '500ms'")
        row = await connection.fetchrow(_QUEUE, articles, priority, max_attempts)
        assert row is not None
        there, queued = row["there"], row["queued"]
        found = Requeued(queued, row["wanted"] - queued, there - row["wanted"], len(articles) - there)
        facts = {"count": queued, "articles": list(articles[:100]), "priority": priority}
        await operator_log.note(connection, "articles queued", by, category="bulk_operations", **facts)
    return found
