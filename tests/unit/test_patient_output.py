"""Output that nobody reads, or not in time."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import re
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from embedq_worker.process.output import PatientOutput

LINES = 400
PIPE_BYTES = 8192
Ends = tuple[int, int]

# The first line is begun, the others are dropped.
PROGRAM = """
import sys
from embedq_worker.process.output import patient_output
sys.stderr = patient_output(2)
for number in range(5):
    sys.stderr.write(f"{number} {'x' * 9000}\\n")
print("written", flush=True)
sys.stdin.read()
"""


def _pipe() -> Ends:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reader, writer


def _shared_pipe() -> Ends:
    reader, writer = _pipe()
    os.set_blocking(writer, False)  # as another program may leave it
    return reader, writer


def _foreign_terminal() -> Ends:
    return pty.openpty()


@contextmanager
def _opened(ends: Callable[[], Ends]) -> Iterator[Ends]:
    reader, writer = ends()
    try:
        yield reader, writer
    finally:
        os.close(reader)  # first: it ends whoever is blocked at the other end
        os.close(writer)


def _read(reader: int) -> str:
    """What is there to read, or comes at once."""
    data = b""
    while select.select((reader,), (), (), 0.01)[0] and (more := os.read(reader, 65536)):
        data += more
    return data.decode().replace("\r\n", "\n")


# A terminal has a byte or two of room left for a while, whatever the length of the lines.
@pytest.mark.parametrize("length", [60, 137, 5000])
@pytest.mark.parametrize("ends", [pty.openpty, _foreign_terminal, _pipe, _shared_pipe])
def test_each_line_is_whole_or_counted_where_it_is_missing(
    ends: Callable[[], Ends], length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ends is _foreign_terminal:
        monkeypatch.setattr(os, "ttyname", lambda descriptor: "/cannot/be/opened")
    with _opened(ends) as (reader, writer):
        output = PatientOutput(writer)
        written = itertools.count()

        def write(lines: int) -> None:
            for _ in range(lines):
                output.write(f"{next(written)} {'x' * length}\n".encode())

        thread = threading.Thread(target=write, args=(LINES,), daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive(), "blocked"
        assert os.get_blocking(writer) == (ends is not _shared_pipe)
        shown = ""
        while _told(shown, length) <= LINES:
            write(1)
            shown += _read(reader)


def test_what_is_left_at_the_end_is_sent_if_there_is_room() -> None:
    with _opened(_pipe) as (reader, writer), _program(writer) as program:
        assert program.stdout is not None
        assert program.stdout.readline()
        shown = _read(reader)
        program.communicate()
        shown += _read(reader)
    assert program.returncode == 0
    assert shown.startswith(f"0 {'x' * 9000}\n")
    assert _told(shown, 9000) == 5


def test_a_program_ends_though_nobody_reads() -> None:
    with _opened(_pipe) as (_, writer), _program(writer) as program:
        program.communicate(timeout=10)
    assert program.returncode == 0


def _program(errors: int) -> subprocess.Popen[bytes]:
    """Started; it ends when its input does."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
    )


def _told(shown: str, length: int) -> int:
    """How many lines were shown or reported as dropped; an incomplete one at the end is not yet."""
    told = 0
    for line in shown.split("\n")[:-1]:
        if dropped := re.match(r"\((\d+) lines", line):
            told += int(dropped[1])
        else:
            assert line == f"{told} {'x' * length}"
            told += 1
    return told
