"""Search by meaning: the query is embedded by the provider of the settings, and why nothing may be found."""

from __future__ import annotations

from dataclasses import dataclass

from embedq_tui.output import count
from embedq_worker.content.search import SearchHit, search
from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.models import Models, models
from embedq_worker.providers.base import Vector


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for.

    Attributes:
        query: In words.
        limit: Articles at most.
        folder: Only this one and those below it; empty for all.
        any_model: Also vectors that another program stored without their model.
    """

    query: str
    limit: int
    folder: str = ""
    any_model: bool = False


async def look_up(
    connection: Connection, vector: Vector, model: str, wanted: Wanted
) -> tuple[list[SearchHit], EmbedqError | None]:
    """Compare a query with what is stored.

    Args:
        connection: To the migrated database.
        vector: Of the query.
        model: That made it.
        wanted: What is looked for.

    Returns:
        The hits, and why there are none.
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
    if own:
        place = f" in the folder {wanted.folder}" if wanted.folder else ""
        return EmbedqError(
            f"nothing found{place}; {count(own, 'article')} embedded by {model} overall",
            "try without --folder" if wanted.folder else "are they all no_rag? embedq-tui verify tells",
        )
    others = [f"{name} ({count(n, 'article')})" for name, n in stored.articles]
    if stored.unknown and not wanted.any_model:
        others.append("an unknown model (--any-model compares with those)")
    if others:
        return EmbedqError(
            f"there are no vectors of {model}, but of {', '.join(others)}",
            "set EMBEDDING_MODEL to that model, or embed all again: embedq-tui backfill",
        )
    return EmbedqError(
        "no article has been embedded yet", "embedq-tui backfill queues them, embedq-worker embeds them"
    )
