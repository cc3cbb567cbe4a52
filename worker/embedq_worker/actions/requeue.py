"""Articles that are named, put into the queue by an operator whatever is stored of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from embedq_worker.content.articles import Priority
from embedq_worker.database.connections import Connection
from embedq_worker.database.locks import ROWS_TRIES, until_free
from embedq_worker.errors import EmbedqError
from embedq_worker.queue import operator_log

BATCH = 1_000
"""Articles per transaction."""

# An article that is not to be embedded has a task only where something is to be removed. What is locked is
# queued in the same statement, so slugs do not travel here and back; the function sees all that is committed.
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
       (SELECT count(*) FROM embedq_enqueue(ids, slugs, operations, $2::text, $3::int, NULL)) AS queued
FROM found
"""


@dataclass(slots=True)
class Requeued:
    """What became of articles that were to be queued.

    Attributes:
        queued: A task was queued.
        waiting: One that is pending already will do it at least as early.
        excluded: They are not to be embedded, and have no embeddings.
        gone: There are no such articles.
    """

    queued: int = 0
    waiting: int = 0
    excluded: int = 0
    gone: int = 0

    @property
    def total(self) -> int:
        """How many articles were looked at."""
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
    """Queue a task for each article, in batches; each batch has a row in the audit log.

    Args:
        connection: To a migrated database.
        articles: Their ids.
        by: Operator as ``user@host``.
        max_attempts: Of the tasks.
        priority: Of the tasks.
        outcome: Filled on the way: it tells also what an interrupted run did.
        progress: Told after each batch how many articles were looked at.

    Raises:
        EmbedqError: Another session kept an article locked all the time; batches before are queued.
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`; batches before are queued.
    """
    done = outcome if outcome is not None else Requeued()
    wanted = sorted(set(articles))
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        held = EmbedqError(
            f"another session keeps one of {len(batch)} articles locked",
            "end long transactions (pg_stat_activity tells which), then queue them again",
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
        # As sql/012_bulk has it: shorter than deadlock_timeout, so that no other program has to give way.
        await connection.execute("SET LOCAL lock_timeout = '500ms'")
        row = await connection.fetchrow(_QUEUE, articles, priority, max_attempts)
        assert row is not None
        there, queued = row["there"], row["queued"]
        found = Requeued(queued, row["wanted"] - queued, there - row["wanted"], len(articles) - there)
        facts = {"count": queued, "articles": list(articles[:100]), "priority": priority}
        await operator_log.note(connection, "articles queued", by, category="bulk_operations", **facts)
    return found
