"""Semantic search, and an explanation when nothing is found."""

from __future__ import annotations

from dataclasses import dataclass

from embedq_tui.rendering.words import count
from embedq_worker.content.search import SearchHit, search
from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.models import Models, models
from embedq_worker.providers.base import Vector


@dataclass(frozen=True, slots=True)
class Query:
    """What to search for.

    Attributes:
        text: In words.
        limit: Maximum number of articles.
        folder: Only this folder and its subfolders; empty for all.
        any_model: Also vectors stored without a model name by other programs.
    """

    text: str
    limit: int
    folder: str = ""
    any_model: bool = False


async def look_up(
    connection: Connection, vector: Vector, model: str, query: Query
) -> tuple[list[SearchHit], EmbedqError | None]:
    """Compare a query with the stored vectors.

    Args:
        connection: To a migrated database.
        vector: The embedded query.
        model: The model that made it.
        query: What to search for.

    Returns:
        The hits, and why there are none (None if there are hits).
    """
    hits = await search(
        connection,
        vector,
        model=model,
        limit=query.limit,
        folder=query.folder,
        any_model=query.any_model,
        query=query.text,
    )
    return hits, None if hits else _why_nothing(model, query, await models(connection))


def _why_nothing(model: str, query: Query, stored: Models) -> EmbedqError:
    own = dict(stored.articles).get(model)
    least = "" if stored.complete else "at least "
    if own:
        place = f" in the folder {query.folder}" if query.folder else ""
        return EmbedqError(
            f"nothing found{place}; {model} has embedded {least}{count(own, 'article')} overall",
            "try without --folder"
            if query.folder
            else "their vectors are gone, or all are no_rag: embedq-tui verify",
        )
    others = [f"{name} ({least}{count(n, 'article')})" for name, n in stored.articles]
    if stored.unknown and not query.any_model:
        others.append("an unknown model (to include it: --any-model)")
    if others:
        return EmbedqError(
            f"no vectors of {model} were found, only of {', '.join(others)}",
            "set EMBEDDING_MODEL to that model, or embed everything again: embedq-tui backfill",
        )
    return EmbedqError(
        "no article has been embedded yet", "queue them: embedq-tui backfill; embed them: embedq-worker"
    )
