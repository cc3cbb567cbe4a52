"""The real console on a terminal of its own, and its worker processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.terminal import Terminal


@dataclass
class Opened:
    """A console on a terminal.

    Attributes:
        program: The console.
        home: Folder it may write to.
    """

    program: Terminal
    home: Path

    @property
    def workers(self) -> list[psutil.Process]:
        """Its workers; none if it has ended."""
        try:
            children = psutil.Process(self.program.process.pid).children()
        except psutil.NoSuchProcess:
            return []
        return [child for child in children if is_worker(child)]

    def log_of(self, worker: psutil.Process) -> Path:
        """The log file of a worker that was left running."""
        return self.home / "embedq" / f"worker-{worker.pid}.log"

    async def press(self, keys: str, shows: str) -> None:
        """Press keys, and wait until something is shown."""
        self.program.type(keys)
        await self.program.until(lambda text: shows in text)

    async def start_worker(self) -> psutil.Process:
        """Start a worker and wait until it is ready."""
        await self.press("5", "press s to start one")
        await self.press("s", "running, pid")
        (worker,) = self.workers
        return worker


def is_worker(process: psutil.Process) -> bool:
    """Whether a process is a worker."""
    try:
        return "embedq_worker" in process.cmdline()
    except psutil.Error:
        return False
