"""Traffic for the demo's database: articles are edited, and another program's worker fails on some."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from embedq_worker.configuration.settings import Settings
from embedq_worker.content.articles import ImportOptions, store_articles
from embedq_worker.content.importing import ArticleDraft
from embedq_worker.content.reference_corpus import FOLDER, python_topics
from embedq_worker.database.connections import DirectConnection, connected
from embedq_worker.errors import EmbedqError

EDITS = 12
"""Maximum number of articles edited at a time."""

PAUSE_S = 1.5
AGAIN_S = 1.0
"""Seconds before reconnecting."""

FAILS = 0.3
"""Share of rounds that end with a failure."""

_ERRORS: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: f"connect ECONNREFUSED 10.0.{rng.randrange(4)}.{rng.randrange(256)}:11434",
    lambda rng: (
        f"This model's maximum context length is 8192 tokens, you sent {rng.randrange(8_193, 30_000)}"
    ),
    lambda rng: f"HTTP 429 from https://api.example.com/v1/embeddings (request {rng.getrandbits(64):016x})",
    lambda rng: f"timeout of {rng.choice((10_000, 30_000))} ms exceeded",
)


async def keep_busy(settings: Settings, by: str) -> None:
    """Edit articles of the demo and insert failures until cancelled; other articles are not touched.

    Args:
        settings: Settings of the demo's database, with its articles stored.
        by: Name of the editor.
    """
    while True:
        with suppress(EmbedqError):  # the traffic continues after a restart of the server
            async with connected(settings, "embedq demo traffic") as connection:
                await _edit_on(connection, ImportOptions(by, settings.max_retries))
        await asyncio.sleep(AGAIN_S)


async def _edit_on(connection: DirectConnection, options: ImportOptions) -> None:
    rng, drafts, edits = random.Random(), python_topics(), 0  # noqa: S311 - nothing secret
    while True:
        edits += 1
        chosen = rng.sample(drafts, rng.randint(1, EDITS))
        async for _ in store_articles(connection, [_edited(draft, edits) for draft in chosen], options):
            pass
        if rng.random() < FAILS:
            await _fail(connection, chosen[0], rng.choice(_ERRORS)(rng))
        await asyncio.sleep(PAUSE_S * rng.random() * 2)


def _edited(draft: ArticleDraft, number: int) -> ArticleDraft:
    return replace(draft, content=f"{draft.content}\nEdited in round {number} of the demo.\n")


async def _fail(connection: DirectConnection, draft: ArticleDraft, error: str) -> None:
    """Insert a failed task as another program's worker would leave it."""
    await connection.execute(
        """INSERT INTO embedding_tasks
               (id, article_id, slug, operation, priority, status, attempts, max_attempts,
                created_at, processed_at, completed_at, error_message)
           SELECT embedq_uuid(), id, slug, 'update', 'normal', 'failed', 3, 3, now(), now(), now(), $3
           FROM articles WHERE slug = $1 AND folder = $2""",
        draft.slug,
        FOLDER,
        error,
    )
