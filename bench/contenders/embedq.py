"""Ourselves: the real worker, with a provider that does nothing. Everything that is promised is on.

The jobs that are drained are tasks of articles that have no embeddings to remove: each is claimed with its
token and its article's text, locked, compared, completed, audited, counted and announced, and no vector is
stored, as a job of the others does nothing either.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from time import perf_counter
from typing import Any
from unittest.mock import patch

import asyncpg
from pydantic import SecretStr

from bench.contenders import Gate, Started, single
from embedq_worker.actions.requeue import queue_articles
from embedq_worker.configuration.settings import Settings
from embedq_worker.providers.base import CheckReport, RequestLimits, Vector
from embedq_worker.queue.claims import ClaimedTask
from embedq_worker.schema import migrations
from embedq_worker.service.logs import open_log
from embedq_worker.service.pipeline import BatchReport, Pipeline
from embedq_worker.service.runtime import run_worker, spare_collector

DIMENSIONS = 8
BATCH = 1_000
CONCURRENCY = 4

_ARTICLES = """INSERT INTO articles (title, slug, content)
               SELECT 'Note ' || i, 'note-' || i, 'Note ' || i || ' in a few words.'
               FROM generate_series(1, $1::int) AS i"""

_DELETES = "SELECT count(*) FROM embedq_enqueue($1, $2, $3, 'normal', 3)"

_SPAN = """SELECT extract(epoch FROM max(completed_at) - min(processed_at))::float8 FROM embedding_tasks
           WHERE status = 'completed'"""


class NoProvider:
    """A provider that takes no time."""

    model = "none/none"
    endpoint = "nowhere"
    dimensions = DIMENSIONS
    limits = RequestLimits(2_048, 1_000_000)

    def __init__(self) -> None:
        self._vector = array("f", [0.5] * DIMENSIONS)

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """The same vector for all."""
        return [self._vector] * len(texts)

    async def check(self) -> CheckReport:
        """All is well."""
        return CheckReport(self.model, DIMENSIONS, 0.0, "")

    async def aclose(self) -> None:
        """Nothing to close."""


def settings_of(url: str, **values: object) -> Settings:
    """Settings of a worker in a database."""
    chosen: dict[str, Any] = {
        "provider": "openai",
        "openai_base_url": "http://127.0.0.1:1",
        "dimensions_wanted": DIMENSIONS,
        "log_level": "error",
        **values,
    }
    return Settings(_env_file=None, database_url=SecretStr(url), **chosen)


class Embedq:
    """See the module."""

    setting = f"batches of {BATCH}, concurrency {CONCURRENCY}"
    insert = single.INSERT

    async def prepare(self, url: str) -> None:
        """Migrate, with articles for tasks that come one by one, of which none has been embedded."""
        await migrations.up(settings_of(url))
        connection = await asyncpg.connect(url)
        await connection.execute(single.ARTICLES)
        await connection.close()

    async def enqueue(self, url: str, jobs: int) -> float:
        """By articles, as `embedq-tui` queues them; then they become what a worker has nothing to do for."""
        connection = await asyncpg.connect(url)
        await connection.execute(_ARTICLES, jobs)
        await connection.execute("VACUUM ANALYZE articles")
        rows = await connection.fetch("SELECT id FROM articles WHERE slug LIKE 'note-%' ORDER BY id")
        ids = [row["id"] for row in rows]
        began = perf_counter()
        done = await queue_articles(connection, ids, by="bench@bench", max_attempts=3)
        seconds = perf_counter() - began
        assert done.queued == jobs
        await connection.execute("TRUNCATE embedding_tasks")
        await connection.execute(_DELETES, *_columns(ids))
        await connection.execute("SELECT embedq_fold_counts()")
        await connection.close()
        return seconds

    async def drain(self, url: str, gate: Gate) -> float:
        """`embedq-worker --drain` in this process."""
        spare_collector()
        await gate()
        settings = settings_of(url, batch_size=BATCH, concurrency=CONCURRENCY)
        await run_worker(settings, open_log("json", "error"), drain=True, provider=NoProvider())
        connection = await asyncpg.connect(url)
        seconds = await connection.fetchval(_SPAN)
        await connection.close()
        return float(seconds or 0)  # another one may have taken all

    async def serve(self, url: str, started: Started) -> None:
        """A worker as it comes, at the moment it has a task with its text in hand, as others have a job."""
        run = Pipeline.run

        async def begin(pipeline: Pipeline, tasks: Sequence[ClaimedTask]) -> BatchReport:
            started()
            return await run(pipeline, tasks)

        with patch.object(Pipeline, "run", begin):
            await run_worker(settings_of(url), open_log("json", "error"), provider=NoProvider())


def _columns(ids: Sequence[int]) -> tuple[list[int], list[str], list[str]]:
    return list(ids), [f"note-{one}" for one in ids], ["delete"] * len(ids)


CONTENDER = Embedq()
