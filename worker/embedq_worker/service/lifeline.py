"""The line between a worker and the program that started it, and output that such a program may leave unread.

The line is one end of a socket pair, inherited as `--lifeline FD`. It ends with the program, however that
dies, and then the worker finishes what it holds and exits. Words on it, a line each:

    worker ID     from the worker: it is connected to its database, and this is its id there
    leave PATH    to the worker: go on alone when the line ends, and write the log to this file from now on
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
    """Output that never waits and never fails: what nobody takes is dropped, and counted in a line later.

    A pipe that is full would stop the worker at its next log line, one whose reader is gone would end it.

    Args:
        descriptor: Where to write; made non-blocking where it is a pipe or a socket.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._rest = b""
        self._dropped = 0
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):  # others may be shared, a terminal with its shell
            os.set_blocking(descriptor, False)

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object, /) -> int:
        """Write all of the data, or none of it where there is no room.

        Returns:
            Its size, always: the writer is not to try again.
        """
        assert isinstance(data, bytes | bytearray | memoryview)
        whole = bytes(data)
        if not self._rest and self._dropped:
            self._rest = f"({self._dropped} lines were dropped here: nobody read them)\n".encode()
            self._dropped = 0
        self._rest = self._rest[self._send(self._rest) :]
        sent = 0 if self._rest else self._send(whole)
        if sent:
            self._rest = whole[sent:]  # of a line begun, the end has to come
        elif whole:
            self._dropped += 1
        return len(whole)

    def _send(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data) if data else 0
        except BlockingIOError:
            return 0
        except OSError:  # the reader is gone, the disk is full: nothing that could be told, or would help
            return len(data)


def take_line(descriptor: int) -> socket.socket:
    """Make a descriptor of the command line the line of this process, and its output patient.

    Raises:
        UsageError: It is no socket that was inherited.
    """
    try:
        line = socket.socket(fileno=descriptor)
        line.set_inheritable(False)
    except (OSError, OverflowError, ValueError):
        raise UsageError(f"--lifeline {descriptor}: no socket was inherited there") from None
    for name, number in (("stdout", 1), ("stderr", 2)):
        with suppress(OSError):  # it was closed
            output = PatientOutput(number)
            setattr(
                sys, name, io.TextIOWrapper(output, "utf-8", errors="backslashreplace", write_through=True)
            )
    return line


@asynccontextmanager
async def held(
    line: socket.socket, worker: UUID, on_end: Callable[[str], None], log: Log
) -> AsyncIterator[None]:
    """Say on the line who this is, and hear what is said on it, for the block.

    Args:
        line: Of `take_line`.
        worker: Id of this worker.
        on_end: Called with a reason when the line ended and nobody said that it might.
        log: For what an operator should know.
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
            log.info("left running by the program that started this worker; this log goes to a file")
            _write_to(word.removeprefix(f"{LEAVE} "))
            log.info("goes on alone: embedq-tui stop, or SIGTERM, ends it", pid=os.getpid())
    if not left:
        on_end("the program that started it is gone")


async def _word(reader: asyncio.StreamReader) -> str:
    """The next line; empty when there will be none."""
    try:
        return os.fsdecode((await reader.readline()).removesuffix(b"\n"))
    except (OSError, ValueError):  # reset; or a line without end
        return ""


def _write_to(path: str) -> None:
    """Let standard output and error go to a file; nowhere, if it cannot be written."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(path, flags, 0o600)
    except OSError:
        file = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    for number in (1, 2):
        os.dup2(file, number)
    os.close(file)
