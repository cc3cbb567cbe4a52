"""Output that may be left unread, or that cannot be written: neither must hold up a worker or end it."""

from __future__ import annotations

import atexit
import io
import os
import select
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

RETRY_EVERY_S = 0.01


class PatientOutput(io.BufferedIOBase):
    """Output that never blocks and never fails: lines that cannot be written are dropped and counted.

    A full pipe, or a terminal that nobody reads or that was stopped with Ctrl-S, would block the worker at
    its next log line, with its heartbeat and its signal handlers; a pipe whose reader is gone, or a full
    disk, would end it.

    Args:
        descriptor: Where to write. It stays blocking, because other programs may share it.

    Attributes:
        name: The descriptor, as for a file of Python's own.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.name = descriptor
        self._descriptor = descriptor
        self._rest = b""
        self._dropped = 0

    def writable(self) -> bool:
        """Always True."""
        return True

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: object, /) -> int:
        """Write all of the data, or drop all of it if there is no room.

        Returns:
            Always its size, so that the caller does not retry.
        """
        assert isinstance(data, bytes | bytearray | memoryview)
        whole = bytes(data)
        sent = self._send(whole) if self._caught_up() else 0
        if sent:
            self._rest = whole[sent:]  # a line that was begun must be finished
        elif whole:
            self._dropped += 1
        return len(whole)

    def finish(self, within_s: float = 1.0) -> None:
        """Send what is left: the rest of a line that was begun, and how many were dropped.

        Args:
            within_s: Seconds to wait for somebody to read; after that it is lost.
        """
        until = time.monotonic() + within_s
        while not self._caught_up() and time.monotonic() < until:
            time.sleep(RETRY_EVERY_S)  # not select: a terminal can be ready without room for a line's end

    def _caught_up(self) -> bool:
        """Send the rest of a begun line, then how many were dropped after it; return whether all is sent."""
        self._rest = self._rest[self._send(self._rest) :]
        if self._dropped and not self._rest:
            notice = f"({self._dropped} lines were dropped here because nobody read them)\n".encode()
            self._dropped = 0
            self._rest = notice[self._send(notice) :]
        return not self._rest

    def _send(self, data: bytes) -> int:
        sent = 0
        if not data:
            return sent
        try:
            with _never_blocking(self._descriptor) as descriptor:
                # A pipe that is ready takes as much as this without blocking.
                while sent < len(data) and select.select((), (self._descriptor,), (), 0)[1]:
                    sent += os.write(descriptor, data[sent : sent + select.PIPE_BUF])
        except BlockingIOError:  # a terminal is ready when there is room for one byte
            return sent
        except OSError:  # the reader is gone or the disk is full: there is nowhere to report it
            return len(data)
        return sent


@contextmanager
def _never_blocking(descriptor: int) -> Iterator[int]:
    """Open the same terminal or pipe again without blocking; if that cannot be, use the descriptor itself.

    It is done for each line, as the descriptor may be redirected at any time. A terminal that belongs to
    another user (after su) cannot be opened: there, the descriptor does not block for the moment.
    """
    try:
        is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        path = f"/proc/self/fd/{descriptor}" if is_pipe else os.ttyname(descriptor)
        own = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # it is a file or a socket, or belongs to another user
        blocks = os.get_blocking(descriptor)
        os.set_blocking(descriptor, blocks and not os.isatty(descriptor))
        try:
            yield descriptor
        finally:
            os.set_blocking(descriptor, blocks)
        return
    try:
        yield own
    finally:
        os.close(own)


def patient_output(descriptor: int, encoding: str = "utf-8") -> TextIO:
    """A `PatientOutput` for text; at the end of the process it finishes."""
    output = PatientOutput(descriptor)
    atexit.register(output.finish)
    return io.TextIOWrapper(output, encoding, errors="backslashreplace", write_through=True)
