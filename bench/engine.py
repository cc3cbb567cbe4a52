"""Figure 1: queues of jobs that do nothing, worked off by one process; all contenders in turns."""

from __future__ import annotations

import asyncpg

from bench.contender import drain
from bench.contenders import NAMES, contender
from bench.result import Engine
from bench.scratch import empty_database

JOBS = {
    "floor": 100_000,
    "bare": 100_000,
    "embedq": 100_000,
    "pgqueuer": 50_000,
    "awa": 20_000,
    "procrastinate": 2_000,
}
"""So many that each takes some seconds."""


def installed() -> tuple[list[str], list[str]]:
    """Contenders that can be measured here, and those that cannot."""
    there, missing = [], []
    for name in NAMES:
        try:
            contender(name)
            there.append(name)
        except ImportError:
            missing.append(name)
    return there, missing


async def measure(rounds: int, share: float = 1.0) -> Engine:
    """Measure all in turns.

    Args:
        rounds: How often.
        share: Of the usual number of jobs.
    """
    names, missing = installed()
    result = Engine(settings={name: contender(name).setting for name in names}, missing=missing, rounds=[])
    for _ in range(rounds):
        costs = {}
        for name in names:
            jobs = max(round(JOBS[name] * share), 100)
            async with empty_database() as url:
                await contender(name).prepare(url)
                enqueue_s = await contender(name).enqueue(url, jobs)
                await _settle(url)
                costs[name] = await drain(name, url, jobs)
                costs[name].enqueue_s = enqueue_s
            print(f"{name:14} {costs[name].rate:9,.0f}/s  {costs[name].cpu_us or 0:7.1f} us CPU", flush=True)
        result.rounds.append(costs)
    return result


async def _settle(url: str) -> None:
    """As a queue is that has been there for a while."""
    connection = await asyncpg.connect(url)
    await connection.execute("VACUUM ANALYZE", timeout=600)
    await connection.close()
