"""The lifeline between a worker and the program that started it, and output that program may leave unread.

The lifeline is one end of a socket pair, inherited as `--lifeline FD`. It is closed when the program ends,
however it dies; the worker then finishes what it holds and exits. Messages on it, one per line:

    worker ID     from the worker: it is connected to its database, and this is its id there
    leave PATH    to the worker: keep running when the lifeline is closed, and log to this file from now on
"""

from __future__ import annotations

import asyncio
import io
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from uuid import UUID

from embedq_worker.errors import UsageError
from embedq_worker.waits import beside

if TYPE_CHECKING:
    from embedq_worker.logs import Log

STARTED = "worker"
LEAVE = "leave"


class PatientOutput(io.RawIOBase):
    """Output that never blocks and never fails: lines that cannot be written are dropped and counted.

    A full pipe would block the worker at its next log line; one whose reader is gone would end it.

    Args:
        descriptor: Where to write; made non-blocking if it is a pipe or a socket.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._rest = b""
        self._dropped = 0
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):  # a terminal, for example, is shared with its shell
            os.set_blocking(descriptor, False)

    def writable(self) -> bool:
        """Always True."""
        return True

    def write(self, data: object, /) -> int:
        """Write all of the data, or drop all of it if there is no room.

        Returns:
            Always its size, so that the caller does not retry.
        """
        assert isinstance(data, bytes | bytearray | memoryview)
        whole = bytes(data)
        if not self._rest and self._dropped:
            self._rest = f"({self._dropped} lines were dropped here because nobody read them)\n".encode()
            self._dropped = 0
        self._rest = self._rest[self._send(self._rest) :]
        sent = 0 if self._rest else self._send(whole)
        if sent:
            self._rest = whole[sent:]  # a line that was begun must be finished
        elif whole:
            self._dropped += 1
        return len(whole)

    def _send(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data) if data else 0
        except BlockingIOError:
            return 0
        except OSError:  # the reader is gone or the disk is full: there is nowhere to report it
            return len(data)


def take_line(descriptor: int) -> socket.socket:
    """Take over the descriptor from the command line as the lifeline, and make the output non-blocking.

    Raises:
        UsageError: It is not an inherited socket.
    """
    try:
        line = socket.socket(fileno=descriptor)
        line.set_inheritable(False)
    except (OSError, OverflowError, ValueError):
        raise UsageError(f"--lifeline {descriptor} is not an inherited socket") from None
    for name, number in (("stdout", 1), ("stderr", 2)):
        with suppress(OSError):  # it is closed
            output = PatientOutput(number)
            setattr(
                sys, name, io.TextIOWrapper(output, "utf-8", errors="backslashreplace", write_through=True)
            )
    return line


@asynccontextmanager
async def held(
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
