"""The programs as process 1 of a container, for which the kernel ignores signals without a handler."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import psutil
import pytest

ALONE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")


def has_namespaces() -> bool:
    return subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_namespaces(), reason="no namespaces here")
@pytest.mark.parametrize("program", [("embedq_worker",), ("embedq_tui", "status")], ids=" ".join)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_one_that_still_waits_for_its_database(
    program: tuple[str, ...], number: int
) -> None:
    reached: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_server(lambda _, writer: reached.put(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *ALONE,
        *(sys.executable, "-P", "-m", *program),
        env={"PATH": os.environ["PATH"], "DATABASE_URL": f"postgresql://me@127.0.0.1:{port}/x"},
    )
    try:
        async with asyncio.timeout(15):
            silent = await reached.get()
            psutil.Process(process.pid).children()[0].send_signal(number)
            assert await process.wait() == 128 + number
            silent.close()
    finally:
        if process.returncode is None:
            process.kill()
        server.close()
