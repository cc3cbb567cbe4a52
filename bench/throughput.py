"""Short articles queued and embedded by a real worker with the local model: articles a second."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from statistics import median
from time import perf_counter

import asyncpg

from bench.scratch import scratch_database
from bench.server import server
from embedq_worker.configuration.settings import Settings

_ARTICLES = """
INSERT INTO articles (title, slug, content)
SELECT 'Note ' || i, 'note-' || i,
       '# Note ' || i || E'\\n\\nThe ' || i || '. note tells of topic ' || md5(i::text) ||
       E', in a few plain words that a reader can search for.\\n'
FROM generate_series(1, $1::int) AS i"""

_TASKS = """INSERT INTO embedding_tasks (id, article_id, slug, operation)
            SELECT embedq_uuid(), id, slug, 'create' FROM articles"""

_SPAN = """SELECT extract(epoch FROM max(completed_at) - min(processed_at))::float8 FROM embedding_tasks
           WHERE status = 'completed'"""


async def drain(settings: Settings, concurrency: int, batch_size: int) -> float:
    """Run a worker until the queue is empty; wall seconds, its start included."""
    assert settings.database_url is not None
    began = perf_counter()
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "embedq_worker", "--drain", "--log-level", "warn"),
        *("--concurrency", str(concurrency), "--batch-size", str(batch_size)),
        env=os.environ
        | {"DATABASE_URL": settings.database_url.get_secret_value(), "EMBEDDING_PROVIDER": "local"},
    )
    code = await worker.wait()
    if code:
        sys.exit(f"the worker ended with exit code {code}")
    return perf_counter() - began


async def main(articles: int, concurrency: int, batch_size: int, rounds: int) -> None:
    """Measure several rounds, each in a database of its own."""
    rates, walls = [], []
    for _ in range(rounds):
        async with scratch_database() as settings:
            connection = await asyncpg.connect(**settings.connect_arguments())
            await connection.execute(_ARTICLES, articles)
            await connection.execute(_TASKS)
            walls.append(await drain(settings, concurrency, batch_size))
            rates.append(articles / await connection.fetchval(_SPAN))
            done = await connection.fetchval("SELECT count(DISTINCT article_id) FROM embeddings")
            assert done == articles
            await connection.close()
        print(f"{rates[-1]:,.0f} articles/s; {walls[-1]:.1f} s with the worker's start", flush=True)
    print(
        f"median of {rounds}: {median(rates):,.0f} articles/s, {median(walls):.1f} s in all "
        f"({articles:,} articles, concurrency {concurrency}, batches of {batch_size})"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--articles", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with server():
        asyncio.run(main(arguments.articles, arguments.concurrency, arguments.batch_size, arguments.rounds))
