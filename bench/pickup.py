"""The parts of figure 2: where the time goes from the INSERT of a task to the request for its embedding.

python -m bench.pickup               a worker alone on an idle queue; nothing else should run
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Sequence
from statistics import quantiles
from unittest.mock import patch

import asyncpg

from bench.contender import answer, process
from bench.contenders.embedq import CONTENDER, NoProvider, settings_of
from bench.scratch import empty_database
from bench.server import server
from embedq_worker.providers.base import Vector
from embedq_worker.queue.claims import ClaimedTask
from embedq_worker.service.dispatch import Dispatcher
from embedq_worker.service.logs import open_log
from embedq_worker.service.pipeline import BatchReport, Pipeline
from embedq_worker.service.runtime import run_worker

PARTS = {
    "signalled": "the INSERT with its triggers, until the signal is received",
    "claiming": "until the claim is sent",
    "claimed": "the claim",
    "begun": "until the batch begins",
    "asked": "chunking the article, until the request",
}
"""What ends at each moment that the worker notes; the first begins with the INSERT."""

WARM_UP = 5


class _Moments:
    """When something happened last, by name, in nanoseconds of the system's monotonic clock."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}

    def note(self, name: str) -> None:
        """It happens now."""
        self._at[name] = time.monotonic_ns()

    def tell(self) -> None:
        """Print them, for whoever measures."""
        print(json.dumps(self._at), flush=True)


class _Provider(NoProvider):
    """Tells the moments when it is asked."""

    def __init__(self, moments: _Moments) -> None:
        super().__init__()
        self._moments = moments

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """As the other, afterwards."""
        self._moments.note("asked")
        self._moments.tell()
        return await super().embed(texts)


async def _work(url: str) -> None:
    """A worker with its default settings, which notes the moments of each task."""
    moments = _Moments()
    signalled, claim, run = Dispatcher.signalled, Pipeline.claim, Pipeline.run

    def on_signal(dispatcher: Dispatcher) -> None:
        moments.note("signalled")
        signalled(dispatcher)

    async def on_claim(pipeline: Pipeline, limit: int) -> list[ClaimedTask]:
        moments.note("claiming")
        tasks = await claim(pipeline, limit)
        moments.note("claimed")
        return tasks

    async def on_run(pipeline: Pipeline, tasks: Sequence[ClaimedTask]) -> BatchReport:
        moments.note("begun")
        return await run(pipeline, tasks)

    print("ready", flush=True)
    with (
        patch.object(Dispatcher, "signalled", on_signal),
        patch.object(Pipeline, "claim", on_claim),
        patch.object(Pipeline, "run", on_run),
    ):
        await run_worker(settings_of(url), open_log("json", "error"), provider=_Provider(moments))


async def measure(tasks: int) -> dict[str, list[float]]:
    """Milliseconds of each part, for each task."""
    found: dict[str, list[float]] = {name: [] for name in PARTS}
    async with empty_database() as url:
        await CONTENDER.prepare(url)
        async with process("--worker", url, module="bench.pickup") as child:
            connection = await asyncpg.connect(url)
            await asyncio.sleep(2)  # it may still connect, and says nothing about that
            for number in range(-WARM_UP, tasks):
                await asyncio.sleep(0.1 + random.random() * 0.1)
                before = time.monotonic_ns()
                await connection.execute(CONTENDER.insert)
                moments = json.loads(await answer(child))
                for name in PARTS:
                    if number >= 0:
                        found[name].append((moments[name] - before) / 1e6)
                    before = moments[name]
            await connection.close()
    return found


def show(found: dict[str, list[float]]) -> None:
    """Print the tenth percentile and the median of each part."""
    found = found | {"": [sum(parts) for parts in zip(*found.values(), strict=True)]}
    for name, times in found.items():
        tenth, *_, half = quantiles(times, n=10)[:5]
        print(f"{tenth:6.2f} {half:6.2f} ms  {PARTS.get(name, 'in all')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--worker", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        asyncio.run(_work(arguments.worker))
    else:
        with server():
            show(asyncio.run(measure(arguments.tasks)))
