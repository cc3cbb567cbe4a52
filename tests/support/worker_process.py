"""The real `embedq-worker` as a process of its own, against a test database and the provider stub."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.databases import DIMENSIONS, Database
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until

ENDS_WITHIN_S = 40.0

BATCHES = ("--batch-size", "10", "--concurrency", "2")
"""Arguments of a worker that has two small batches in hand."""


@dataclass
class WorkerProcess:
    """A running, or ended, worker.

    Attributes:
        process: The process.
        lines: What it wrote to standard error, in order.
        logs: Those of them that are log lines.
    """

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    _reader: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self._reader = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it is running."""
        return self.process.returncode is None

    @property
    def plain_lines(self) -> list[str]:
        """Lines it wrote that are not log lines."""
        return [line for line in self.lines if not line.startswith("{")]

    @property
    def text(self) -> str:
        """Everything it wrote."""
        return "\n".join(self.lines)

    def heard(self, word: str) -> bool:
        """Whether there was a log line of this event, or containing this text."""
        return any(word in line for line in self.lines)

    async def until_heard(self, word: str, *, within_s: float = 15.0) -> None:
        """Wait for a log line that contains a text, or for the end of the process."""
        with suppress(TimeoutError):
            await until(lambda: self.heard(word) or not self.running, within_s=within_s)
        assert self.heard(word), f"{word!r} is not in:\n{self.text}"

    async def started(self) -> None:
        """Wait until it listens and is ready to claim, however long a busy machine takes to start it."""
        await self.until_heard("worker started", within_s=60.0)
        await self.until_heard("the provider ")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)  # send_signal would first look for its end, and keep it to itself

    async def ended(self, *, within_s: float = ENDS_WITHIN_S) -> int:
        """Wait for its end and the end of its output.

        Returns:
            The exit code; minus the signal where one ended it.
        """
        async with asyncio.timeout(within_s):
            await asyncio.shield(self._reader)
            return await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL, where it still runs, and wait."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> int:
        """SIGTERM, and wait.

        Returns:
            The exit code.
        """
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            self.lines.append(line.rstrip("\n"))
            if line.startswith("{"):
                self.logs.append(json.loads(line))


def environment(database: Database, stub: ProviderStub | None = None, **values: object) -> dict[str, str]:
    """The environment of a worker: this database and this stub, nothing from the developer's environment.

    Args:
        database: Its database.
        stub: Its provider, as an OpenAI-compatible server.
        values: Further variables; None leaves one out.
    """
    wanted: dict[str, object] = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "DATABASE_URL": database.url,
        "EMBEDDING_PROVIDER": "openai",
        "OPENAI_API_KEY": "sk-test",
        "EMBEDDING_MODEL": "stub",
        "EMBEDDING_DIMENSIONS": DIMENSIONS,
        "LOG_FORMAT": "json",
    }
    if stub is not None:
        wanted["OPENAI_BASE_URL"] = stub.openai_url
    wanted |= values
    return {name: str(value) for name, value in wanted.items() if value is not None}


@asynccontextmanager
async def worker_process(variables: Mapping[str, str], *arguments: str) -> AsyncIterator[WorkerProcess]:
    """Start a worker, and make sure that it has ended at the end of the block.

    Args:
        variables: Its whole environment, see `environment`.
        arguments: Its command line.
    """
    with TemporaryDirectory(prefix="embedq-worker-") as folder:  # where no .env is
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "embedq_worker",
            *arguments,
            env=dict(variables),
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=2**22,
        )
        worker = WorkerProcess(process)
        try:
            yield worker
        finally:
            await worker.kill()


async def run_worker_process(variables: Mapping[str, str], *arguments: str) -> tuple[int, WorkerProcess]:
    """Run a worker that ends by itself.

    Returns:
        Exit code, and what it wrote.
    """
    async with worker_process(variables, *arguments) as worker:
        code = await worker.ended()
    return code, worker
