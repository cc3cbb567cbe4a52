"""The lifeline between a worker and the program that started it.

The lifeline is one end of a socket pair, inherited as `--lifeline FD`. It is closed when the program ends,
however it dies; the worker then finishes what it holds and exits. Messages on it, one per line:

    worker ID     from the worker: it is connected to its database, and this is its id there
    leave PATH    to the worker: keep running when the lifeline is closed, and log to this file from now on
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from uuid import UUID

from embedq_worker.errors import UsageError
from embedq_worker.process.output import patient_output
from embedq_worker.waits import beside

if TYPE_CHECKING:
    from embedq_worker.service.logs import Log

STARTED = "worker"
LEAVE = "leave"


def take_line(descriptor: int) -> socket.socket:
    """Take over the descriptor from the command line as the lifeline; from now on the output is UTF-8.

    Raises:
        UsageError: It is not an inherited socket.
    """
    try:
        line = socket.socket(fileno=descriptor)
        line.set_inheritable(False)
    except (OSError, OverflowError, ValueError):
        raise UsageError(f"--lifeline {descriptor} is not an inherited socket") from None
    if sys.stdout is not None:
        sys.stdout = patient_output(1)
    if sys.stderr is not None:
        sys.stderr = patient_output(2)
    return line


@asynccontextmanager
async def on_lifeline(
    line: socket.socket, worker: UUID, on_end: Callable[[str], None], log: Log
) -> AsyncIterator[None]:
    """Announce the worker on the lifeline, and listen to it, for the duration of the block.

    Args:
        line: From `take_line`.
        worker: Id of this worker.
        on_end: Called with a reason if the lifeline is closed without a `leave` before.
        log: Log of the worker.
    """
    reader, writer = await asyncio.open_connection(sock=line)
    writer.write(f"{STARTED} {worker}\n".encode())
    try:
        async with beside(_listen(reader, on_end, log)):
            yield
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _listen(reader: asyncio.StreamReader, on_end: Callable[[str], None], log: Log) -> None:
    left = False
    while word := await _word(reader):
        if word.startswith(f"{LEAVE} "):
            left = True
            log.info("left running by the program that started this worker; this log continues in a file")
            _write_to(word.removeprefix(f"{LEAVE} "))
            log.info("running on its own; end it with embedq-tui stop or SIGTERM", pid=os.getpid())
    if not left:
        on_end("the program that started it is gone")


async def _word(reader: asyncio.StreamReader) -> str:
    """The next line; empty if there will be none."""
    try:
        return os.fsdecode((await reader.readline()).removesuffix(b"\n"))
    except (OSError, ValueError):  # the connection was reset, or the line is too long
        return ""


def _write_to(path: str) -> None:
    """Redirect standard output and error to a file, or discard them if it cannot be written."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(path, flags, 0o600)
    except OSError:
        file = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    for number in (1, 2):
        os.dup2(file, number)
    os.close(file)
