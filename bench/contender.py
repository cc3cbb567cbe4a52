"""A contender as a process of its own, so that what it costs can be told from what whoever measures costs.

python -m bench.contender NAME drain|serve URL: says ``ready``, waits for a line, works, tells what it took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg

from bench.contenders import contender
from bench.result import Cost
from bench.server import usage

ROOT = Path(__file__).resolve().parents[1]
WITHIN_S = 300.0


@asynccontextmanager
async def process(
    *arguments: str, module: str = "bench.contender"
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A contender that is ready; killed at the end.

    Args:
        arguments: Of the module.
        module: Run as a program; says ``ready``.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert await answer(child) == "ready"
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def answer(child: asyncio.subprocess.Process) -> str:
    """Its next line.

    Raises:
        RuntimeError: It ended instead.
        TimeoutError: It says nothing within `WITHIN_S`.
    """
    assert child.stdout is not None
    async with asyncio.timeout(WITHIN_S):
        line = await child.stdout.readline()
    if not line:
        raise RuntimeError(f"a contender ended with {await child.wait()}")
    return line.decode().strip()


def tell(child: asyncio.subprocess.Process) -> None:
    """Let it go on."""
    assert child.stdin is not None
    child.stdin.write(b"\n")


async def drain(name: str, url: str, jobs: int) -> Cost:
    """Let a contender work off what was queued, and measure.

    Args:
        name: Of `contenders.NAMES`.
        url: Its database.
        jobs: How many there are.
    """
    watch = await asyncpg.connect(url)
    async with process(name, "drain", url) as child:
        before = await usage(watch)
        tell(child)
        told = json.loads(await answer(child))
        used = await usage(watch) - before
        tell(child)
    await watch.close()
    return Cost(
        jobs=jobs,
        seconds=told["seconds"],
        worker_cpu_s=told["cpu_s"],
        server_cpu_s=used.cpu_s,
        wal_bytes=used.wal_bytes,
    )


async def drain_together(name: str, url: str, processes: int) -> float:
    """Let several processes work off one queue; seconds until the last is done."""
    async with AsyncExitStack() as stack:
        children = [await stack.enter_async_context(process(name, "drain", url)) for _ in range(processes)]
        for child in children:
            tell(child)
        return max([float(json.loads(await answer(child))["seconds"]) for child in children])


# -- the process


async def _heard() -> None:
    await asyncio.to_thread(sys.stdin.readline)


def _say(text: str) -> None:
    print(text, flush=True)


async def _drain(name: str, url: str) -> None:
    cpu_s = 0.0

    async def gate() -> None:
        nonlocal cpu_s
        _say("ready")
        await _heard()
        cpu_s = time.process_time()

    seconds = await contender(name).drain(url, gate)
    _say(json.dumps({"seconds": seconds, "cpu_s": time.process_time() - cpu_s}))
    await _heard()  # its end, with that of its connections, is not measured


async def _serve(name: str, url: str) -> None:
    _say("ready")
    await contender(name).serve(url, lambda: _say(str(time.monotonic_ns())))


if __name__ == "__main__":
    chosen, deed, where = sys.argv[1:]
    asyncio.run((_drain if deed == "drain" else _serve)(chosen, where))
