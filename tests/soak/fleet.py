"""Workers that are started again whenever one has ended, as a service manager does."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress

from tests.support.worker_process import WorkerProcess, worker_process

ARGUMENTS = ("--batch-size", "8", "--concurrency", "2")


class Fleet:
    """The workers; an async context manager.

    Args:
        variables: Their environment.
        size: How many there are to be.
        chance: Picks one.

    Attributes:
        size: How many there are to be.
        workers: Those that were started and not seen to have ended.
        started: How many were started.
        crashes: What those wrote that ended with a traceback.
    """

    def __init__(self, variables: Mapping[str, str], size: int, chance: random.Random) -> None:
        self.size = size
        self.workers: list[WorkerProcess] = []
        self.started = 0
        self.crashes: list[str] = []
        self._variables = variables
        self._chance = chance
        self._stacks: dict[int, AsyncExitStack] = {}
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Fleet:
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._keeper is not None
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        for worker in list(self.workers):
            await self._bury(worker)

    def some(self) -> WorkerProcess | None:
        """A worker that runs; one that has served longer rather than one that starts."""
        ready = [worker for worker in self.workers if worker.running and worker.heard("the provider ")]
        return self._chance.choice(ready) if ready else None

    async def start(self, variables: Mapping[str, str] | None = None) -> WorkerProcess:
        """Start one more.

        Args:
            variables: Its environment; None for that of the others.
        """
        stack = AsyncExitStack()
        worker = await stack.enter_async_context(worker_process(variables or self._variables, *ARGUMENTS))
        self._stacks[worker.pid] = stack
        self.workers.append(worker)
        self.started += 1
        return worker

    async def stop(self) -> list[str]:
        """Ask all to end, and start no more.

        Returns:
            What those wrote that did not end well.
        """
        self.size = 0
        for worker in self.workers:
            if worker.running:
                worker.signal(signal.SIGTERM)
        failed = []
        for worker in list(self.workers):
            with suppress(TimeoutError):
                if await worker.ended() != 0 and worker.lines:  # it may not have begun yet
                    failed.append(worker.text[-2_000:])
            await self._bury(worker)
        return failed

    async def _keep(self) -> None:
        while True:
            for worker in list(self.workers):
                if not worker.running:
                    await self._bury(worker)
            if len(self.workers) < self.size:
                await self.start()
            await asyncio.sleep(0.1)

    async def _bury(self, worker: WorkerProcess) -> None:
        if worker not in self.workers:
            return
        self.workers.remove(worker)
        if any("Traceback" in line for line in worker.plain_lines):
            self.crashes.append(worker.text[-4_000:])
        await self._stacks.pop(worker.pid).aclose()
