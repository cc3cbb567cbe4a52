"""Which models the stored vectors come from."""

from __future__ import annotations

from typing import NamedTuple

from embedq_worker.database.connections import Connection


class Models(NamedTuple):
    """Where the stored vectors come from.

    Attributes:
        articles: Articles by the model that embedded them, most first.
        unknown: There are vectors of another program, which does not tell its model.
    """

    articles: tuple[tuple[str, int], ...]
    unknown: bool


async def models(connection: Connection) -> Models:
    """Ask for the models of the stored vectors.

    Args:
        connection: To the migrated database.
    """
    rows = await connection.fetch(
        """SELECT model, count(*) AS n FROM embedq_articles WHERE chunks > 0
           GROUP BY model ORDER BY n DESC, model"""
    )
    unknown = await connection.fetchval("SELECT EXISTS (SELECT FROM embeddings WHERE model IS NULL)")
    return Models(tuple((row["model"], row["n"]) for row in rows), unknown)
