"""A console without a screen: a program that supervises a worker until it is told something, or dies.

Says ``running PID``; on ``leave`` it leaves the worker running, says ``left LOG``, and ends.
"""

from __future__ import annotations

import asyncio
import sys

from embedq_tui.supervisor.supervisor import Supervisor
from embedq_tui.supervisor.types import WorkerState
from embedq_worker.configuration.loading import NO_FILE, load_settings


async def _main() -> None:
    changed = asyncio.Event()
    settings = load_settings(NO_FILE, batch_size=5, concurrency=2, log_level="debug")
    supervisor = Supervisor(settings, by="ann@ops", on_change=changed.set)
    await supervisor.start()
    while supervisor.state is not WorkerState.RUNNING:
        await changed.wait()
        changed.clear()
    print(f"running {supervisor.pid}", flush=True)
    word = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    assert word == "leave\n"
    left = await supervisor.leave()
    assert left is not None
    print(f"left {left.log}", flush=True)
    await supervisor.close()


if __name__ == "__main__":
    asyncio.run(_main())
