"""Figure 4: articles embedded through a provider that takes its time, beside a client that only asks.

python -m bench.pipeline client|embedq URL PROVIDER: one of the two, as a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from array import array
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import perf_counter

import asyncpg
import httpx

from bench.contender import answer, process, tell
from bench.contenders.embedq import settings_of
from bench.provider import DIMENSIONS, INPUT_S, INPUTS, REQUEST_S, requests_so_far, running
from bench.result import Cost, Pipeline
from bench.scratch import empty_database
from bench.server import usage
from embedq_worker.schema import migrations
from embedq_worker.service.logs import open_log
from embedq_worker.service.runtime import run_worker, spare_collector

ARTICLES = 2_000
CHUNKS = 3
IN_FLIGHT = 4
BATCH = 64
"""Articles a claim: full requests."""

_WORDS = "word " * 150
_ARTICLES = f"""
INSERT INTO articles (title, slug, content)
SELECT 'Article ' || i, 'article-' || i,
       (SELECT string_agg('# Part ' || p || E'\\n\\n' || i || ' {_WORDS}', E'\\n\\n')
        FROM generate_series(1, {CHUNKS}) AS p)
FROM generate_series(1, $1::int) AS i"""
_TASKS = """INSERT INTO embedding_tasks (id, article_id, slug, operation)
            SELECT embedq_uuid(), id, slug, 'update' FROM articles"""
_SPAN = "SELECT extract(epoch FROM max(completed_at) - min(processed_at))::float8 FROM embedding_tasks"


async def measure(rounds: int, articles: int = ARTICLES) -> Pipeline:
    """Measure both in turns."""
    requests = math.ceil(articles * CHUNKS / INPUTS)
    result = Pipeline(
        articles=articles,
        chunks=CHUNKS,
        ideal_s=requests * (REQUEST_S + INPUTS * INPUT_S) / IN_FLIGHT,
        settings={
            "client": f"httpx, {INPUTS} texts a request, {IN_FLIGHT} in flight, vectors decoded and dropped",
            "embedq": f"batches of {BATCH}, concurrency {IN_FLIGHT}, {INPUTS} texts a request",
        },
        rounds=[],
        unchanged_requests=[],
    )
    async with running() as provider:
        for _ in range(rounds):
            costs = {"client": await _measured("client", provider, articles, None)}
            async with database(articles) as url:
                costs["embedq"] = await _measured("embedq", provider, articles, url)
                result.unchanged_requests.append(await _again(provider, articles, url))
            result.rounds.append(costs)
            for name, cost in costs.items():
                print(f"{name:8} {cost.seconds:.2f} s  {cost.cpu_us or 0:6.0f} us CPU an article", flush=True)
    return result


@asynccontextmanager
async def database(articles: int) -> AsyncIterator[str]:
    """A database whose articles are all queued."""
    async with empty_database() as url:
        await migrations.up(settings_of(url, dimensions_wanted=DIMENSIONS))
        connection = await asyncpg.connect(url)
        await connection.execute(_ARTICLES, articles)
        await connection.execute(_TASKS)
        await connection.execute("VACUUM ANALYZE")
        await connection.close()
        yield url


async def _again(provider: str, articles: int, url: str) -> int:
    """All articles once more, unchanged: requests that were sent for them (the worker's own check is one)."""
    connection = await asyncpg.connect(url)
    stored = await connection.fetchval("SELECT count(*) FROM embeddings")
    assert stored == articles * CHUNKS, stored
    await connection.execute(_TASKS)
    await connection.close()
    return ((await _measured("embedq", provider, articles, url)).requests or 0) - 1


async def _measured(name: str, provider: str, articles: int, url: str | None) -> Cost:
    async with _process(name, provider, url or str(articles)) as child:
        watch = await asyncpg.connect(url) if url else None
        before = await usage(watch) if watch else None
        asked = await requests_so_far(provider)
        tell(child)
        told = json.loads(await answer(child))
        used = await usage(watch) - before if watch and before else None
        tell(child)
        if watch:
            await watch.close()
    return Cost(
        jobs=articles,
        seconds=told["seconds"],
        worker_cpu_s=told["cpu_s"],
        server_cpu_s=used.cpu_s if used else 0.0,
        wal_bytes=used.wal_bytes if used else 0,
        requests=await requests_so_far(provider) - asked,
    )


def worker(provider: str, url: str) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """A worker that is ready to begin."""
    return _process("embedq", provider, url)


def _process(
    name: str, provider: str, argument: str
) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    return process(name, provider, argument, module="bench.pipeline")


# -- the processes


async def _client(provider: str, articles: int) -> float:
    texts = [f"Part {p}\n\n{i} {_WORDS}" for i in range(articles) for p in range(CHUNKS)]
    requests = iter([texts[start : start + INPUTS] for start in range(0, len(texts), INPUTS)])

    async def ask(client: httpx.AsyncClient) -> None:
        for request in requests:
            body = {"model": "none", "input": request, "encoding_format": "base64"}
            found = (await client.post(f"{provider}/embeddings", json=body)).json()["data"]
            for item in found:
                array("f").frombytes(b64decode(item["embedding"]))

    began = perf_counter()
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client, asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(ask(client))
    return perf_counter() - began


async def _embedq(provider: str, url: str) -> float:
    settings = settings_of(
        url,
        openai_base_url=provider,
        dimensions_wanted=DIMENSIONS,
        model_name="none",
        request_inputs=INPUTS,
        batch_size=BATCH,
        concurrency=IN_FLIGHT,
    )
    await run_worker(settings, open_log("json", "error"), drain=True)
    connection = await asyncpg.connect(url)
    seconds = await connection.fetchval(_SPAN)
    await connection.close()
    return float(seconds or 0)  # another one may have taken all


async def _main(name: str, provider: str, argument: str) -> None:
    spare_collector()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    cpu_s = time.process_time()
    seconds = await (_client(provider, int(argument)) if name == "client" else _embedq(provider, argument))
    print(json.dumps({"seconds": seconds, "cpu_s": time.process_time() - cpu_s}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
