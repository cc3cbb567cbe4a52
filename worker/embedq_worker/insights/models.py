"""Which models the stored vectors come from."""

from __future__ import annotations

from typing import NamedTuple

from embedq_worker.database.connections import Connection

LOOKED_AT = 5_000
"""How many of the oldest and of the newest vectors are checked for a known model."""


class Models(NamedTuple):
    """Where the stored vectors come from.

    Attributes:
        articles: Number of articles by the model that embedded them, largest first.
        unknown: Some of the oldest or newest vectors come from another program, which does not record its
            model.
    """

    articles: tuple[tuple[str, int], ...]
    unknown: bool


async def models(connection: Connection) -> Models:
    """Find the models of the stored vectors; reads one row per embedded article, but few vectors.

    Args:
        connection: To the migrated database.
    """
    rows = await connection.fetch(
        """SELECT model, count(*) AS n FROM embedq_articles WHERE chunks > 0
           GROUP BY model ORDER BY n DESC, model"""
    )
    unknown = await connection.fetchval(_UNKNOWN, LOOKED_AT)
    return Models(tuple((row["model"], row["n"]) for row in rows), unknown)


# By id: there is no index on the model, and if all are known, the whole table would be read.
_UNKNOWN = """
SELECT EXISTS (SELECT FROM (SELECT model FROM embeddings ORDER BY id LIMIT $1) AS oldest
               WHERE model IS NULL)
    OR EXISTS (SELECT FROM (SELECT model FROM embeddings ORDER BY id DESC LIMIT $1) AS newest
               WHERE model IS NULL)
"""
