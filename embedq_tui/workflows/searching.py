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
class Wanted:
    """What to search for.

    Attributes:
        query: In words.
        limit: Maximum number of articles.
        folder: Only this folder and its subfolders; empty for all.
        any_model: Also vectors stored without a model name by other programs.
    """

    query: str
    limit: int
    folder: str = ""
    any_model: bool = False


async def look_up(
    connection: Connection, vector: Vector, model: str, wanted: Wanted
) -> tuple[list[SearchHit], EmbedqError | None]:
    """Compare a query with the stored vectors.

    Args:
        connection: To a migrated database.
        vector: The embedded query.
        model: The model that made it.
        wanted: What to search for.

    Returns:
        The hits, and why there are none (None if there are hits).
    """
    hits = await search(
        connection,
        vector,
        model=model,
        limit=wanted.limit,
        folder=wanted.folder,
        any_model=wanted.any_model,
        query=wanted.query,
    )
    return hits, None if hits else _why_nothing(model, wanted, await models(connection))


def _why_nothing(model: str, wanted: Wanted, stored: Models) -> EmbedqError:
    own = dict(stored.articles).get(model)
    least = "" if stored.complete else "at least "
    if own:
        place = f" in the folder {wanted.folder}" if wanted.folder else ""
        return EmbedqError(
            f"nothing found{place}; {model} has embedded {least}{count(own, 'article')} overall",
            "try without --folder"
            if wanted.folder
            else "their vectors are gone, or all are no_rag: embedq-tui verify",
        )
    others = [f"{name} ({least}{count(n, 'article')})" for name, n in stored.articles]
    if stored.unknown and not wanted.any_model:
        others.append("an unknown model (to include it: --any-model)")
    if others:
        return EmbedqError(
            f"no vectors of {model} were found, only of {', '.join(others)}",
            "set EMBEDDING_MODEL to that model, or embed everything again: embedq-tui backfill",
        )
    return EmbedqError(
        "no article has been embedded yet", "queue them: embedq-tui backfill; embed them: embedq-worker"
    )
