"""Figure 2: from the insertion of a task by plain SQL to the start of its processing, on idle queues."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

import asyncpg

from bench.contender import answer, process
from bench.contenders import contender
from bench.engine import installed
from bench.result import Latency
from bench.scratch import empty_database
from bench.server import Connection

WARM_UP = 5


@dataclass(frozen=True, slots=True)
class _Idle:
    """A contender that waits for a task."""

    name: str
    child: asyncio.subprocess.Process
    connection: Connection

    async def one(self) -> float:
        """Milliseconds for one task."""
        began = time.monotonic_ns()
        await self.connection.execute(contender(self.name).insert)
        return (int(await answer(self.child)) - began) / 1e6


async def measure(rounds: int) -> Latency:
    """Give each contender a task, again and again."""
    names, _ = installed()
    result = Latency(rounds=[])
    async with AsyncExitStack() as stack:
        idle = [await _start(name, stack) for name in names]
        for number in range(-WARM_UP, rounds):
            found = {}
            for one in idle:
                await asyncio.sleep(0.02 + random.random() * 0.06)
                found[one.name] = await one.one()
            if number >= 0:
                result.rounds.append(found)
    return result


async def _start(name: str, stack: AsyncExitStack) -> _Idle:
    url = await stack.enter_async_context(empty_database())
    await contender(name).prepare(url)
    child = await stack.enter_async_context(process(name, "serve", url))
    connection = await asyncpg.connect(url)
    stack.push_async_callback(connection.close)
    await asyncio.sleep(2)  # it may still connect, and says nothing about that
    return _Idle(name, child, connection)
