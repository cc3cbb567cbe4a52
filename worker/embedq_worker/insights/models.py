"""Which models the stored vectors come from."""

from __future__ import annotations

from typing import NamedTuple

from embedq_worker.database.connections import Connection

LOOKED_AT = 5_000
"""How many of the oldest and of the newest vectors are checked for a known model."""

COUNTED = 50_000
"""How many of the oldest and of the newest embedded articles are counted."""


class Models(NamedTuple):
    """Where the stored vectors come from.

    Attributes:
        articles: Number of articles by the model that embedded them, largest first; among the oldest and the
            newest, if there are many.
        complete: All embedded articles were counted.
        unknown: Some of the oldest or newest vectors come from another program, which does not record its
            model.
    """

    articles: tuple[tuple[str, int], ...]
    complete: bool
    unknown: bool


async def models(connection: Connection) -> Models:
    """Find the models of the stored vectors; reads a bounded number of rows.

    Args:
        connection: To the migrated database.
    """
    rows = await connection.fetch(_COUNTS, COUNTED)
    unknown = await connection.fetchval(_UNKNOWN, LOOKED_AT)
    counts = tuple((row["model"], row["n"]) for row in rows)
    return Models(counts, sum(n for _, n in counts) < 2 * COUNTED, unknown)


_COUNTS = """
WITH oldest AS MATERIALIZED (
    SELECT article_id, model FROM embedq_articles WHERE chunks > 0 ORDER BY article_id LIMIT $1
), newest AS MATERIALIZED (
    SELECT article_id, model FROM embedq_articles
    WHERE chunks > 0 AND article_id > (SELECT max(article_id) FROM oldest) ORDER BY article_id DESC LIMIT $1
)
SELECT model, count(*) AS n FROM (TABLE oldest UNION ALL TABLE newest) AS counted
GROUP BY model ORDER BY n DESC, model
"""

# By id: there is no index on the model, and if all are known, the whole table would be read.
_UNKNOWN = """
SELECT EXISTS (SELECT FROM (SELECT model FROM embeddings ORDER BY id LIMIT $1) AS oldest
               WHERE model IS NULL)
    OR EXISTS (SELECT FROM (SELECT model FROM embeddings ORDER BY id DESC LIMIT $1) AS newest
               WHERE model IS NULL)
"""
