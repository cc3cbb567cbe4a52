"""Figure 5: one, two and four processes on one queue, in turns; then with the provider as the limit."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

import asyncpg

from bench import pipeline
from bench.contender import answer, drain_together, tell
from bench.contenders import contender
from bench.provider import INPUT_S, REQUEST_S, running
from bench.result import Scaling
from bench.scratch import empty_database

PROCESSES = (1, 2, 4)
JOBS = 100_000
ARTICLES = 4_000
"""So many that begin and end of a run, in which no requests are in flight, are a small part of it."""
SLOWER = 2
"""Times the provider of figure 4, which two workers keep up with only where both cores are theirs alone: an
article takes a millisecond of CPU, PostgreSQL's included."""


async def measure(rounds: int, jobs: int = JOBS, articles: int = ARTICLES) -> Scaling:
    """Measure all in turns."""
    result = Scaling(rounds=[], provider_rounds=[])
    for _ in range(rounds):
        found: dict[str, dict[int, float]] = {"floor": {}, "embedq": {}}
        for processes in PROCESSES:
            for name, rates in found.items():
                rates[processes] = await _rate(name, processes, jobs)
                print(f"{name:8} {processes} processes {rates[processes]:9,.0f}/s", flush=True)
        result.rounds.append(found)
        limited = {processes: await _limited(processes, articles) for processes in (1, 2)}
        print(f"provider as limit: {limited[1]:,.0f} and {limited[2]:,.0f} articles/s", flush=True)
        result.provider_rounds.append(limited)
    return result


async def _rate(name: str, processes: int, jobs: int) -> float:
    async with empty_database() as url:
        await contender(name).prepare(url)
        await contender(name).enqueue(url, jobs)
        connection = await asyncpg.connect(url)
        await connection.execute("VACUUM ANALYZE", timeout=600)
        await connection.close()
        return jobs / await drain_together(name, url, processes)


async def _limited(processes: int, articles: int) -> float:
    """Articles per second of several workers, each with requests of its own in flight."""
    async with (
        running(SLOWER * REQUEST_S, SLOWER * INPUT_S) as provider,
        pipeline.database(articles) as url,
        AsyncExitStack() as stack,
    ):
        workers = [await stack.enter_async_context(pipeline.worker(provider, url)) for _ in range(processes)]
        for worker in workers:
            tell(worker)
        seconds = await asyncio.gather(*(answer(worker) for worker in workers))
        return articles / max(float(json.loads(told)["seconds"]) for told in seconds)
