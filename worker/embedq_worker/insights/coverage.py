"""How many articles of a folder are embedded."""

from __future__ import annotations

from typing import NamedTuple

from embedq_worker.database.connections import Connection


class Coverage(NamedTuple):
    """How many articles should be embedded, and how many are.

    Attributes:
        articles: Those not marked no_rag.
        embedded: Of those, the ones with a stored embedding, or found to have no text.
    """

    articles: int
    embedded: int


async def coverage(connection: Connection, folder: str = "") -> Coverage:
    """Count the articles of a folder and those below it; reads each of them.

    Args:
        connection: To the migrated database.
        folder: Empty for all.
    """
    row = await connection.fetchrow(
        """SELECT count(*) AS articles,
                  count(*) FILTER (
                      WHERE EXISTS (SELECT FROM embeddings e WHERE e.article_id = a.id)
                         OR EXISTS (SELECT FROM embedq_articles s WHERE s.article_id = a.id AND s.chunks = 0)
                  ) AS embedded
           FROM articles a
           WHERE a.no_rag IS NOT TRUE AND embedq_is_within(a.folder, $1)""",
        folder,
    )
    assert row is not None
    return Coverage(row["articles"], row["embedded"])
