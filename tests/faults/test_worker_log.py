"""A worker whose log nobody reads."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys

from tests.support.content import queued_articles, until_tasks
from tests.support.databases import Connection, Database
from tests.support.provider_stub import ProviderStub
from tests.support.terminal import terminal
from tests.support.worker_process import environment

PIPE_BYTES = 8192
ARGUMENTS = ("-P", "-m", "embedq_worker", "--batch-size", "1", "--log-level", "debug")


async def test_in_a_pipe(database: Database, connection: Connection, stub: ProviderStub) -> None:
    unread, output = os.pipe()
    fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *ARGUMENTS, env=environment(database, stub), stderr=output
    )
    os.close(output)
    await queued_articles(connection, 60)
    await until_tasks(connection, completed=60, within_s=60)
    log = os.read(unread, PIPE_BYTES)
    await queued_articles(connection, 1, slug="later")
    await until_tasks(connection, completed=61, within_s=60)
    process.terminate()
    async with asyncio.timeout(15):
        assert await process.wait() == 0
    log += os.read(unread, PIPE_BYTES)
    os.close(unread)
    assert len(log) > PIPE_BYTES / 2
    assert b"lines were dropped" in log
    assert b"worker stopped" in log


async def test_on_a_terminal_that_was_stopped(
    database: Database, connection: Connection, stub: ProviderStub
) -> None:
    async with terminal(list(ARGUMENTS[1:]), environment(database, stub)) as shown:
        await shown.until(lambda text: "the provider works" in text)
        shown.type(b"\x13")  # Ctrl-S
        await queued_articles(connection, 40)
        await until_tasks(connection, completed=40)
        shown.type(b"\x11")
        await queued_articles(connection, 1, slug="later")
        await shown.until(lambda text: "lines were dropped" in text)
        shown.process.terminate()
        assert await shown.ended() == 0
