"""The PostgreSQL of the measurements, and what it uses: CPU and WAL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import asyncpg

from tests.support.postgres import embedded_binaries, running_server

VARIABLE = "BENCH_DATABASE_URL"
"""URL of an administrator on a running server, which should have nothing else to do."""

CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 2GB
max_wal_size = 8GB
checkpoint_timeout = 1h
log_min_messages = warning
log_error_verbosity = terse
timezone = 'UTC'
"""
"""As it comes, so durable (fsync, synchronous_commit, full_page_writes), with memory and WAL for this size.

No checkpoint falls into a short measurement, so its WAL has no images of whole pages.
"""

_TICKS = os.sysconf("SC_CLK_TCK")

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@contextmanager
def server() -> Iterator[str]:
    """The server of `VARIABLE`, or one of its own; its URL is in `VARIABLE` meanwhile."""
    if url := os.environ.get(VARIABLE):
        yield url
        return
    with running_server(embedded_binaries(), configuration=CONFIGURATION) as url:
        os.environ[VARIABLE] = url
        try:
            yield url
        finally:
            del os.environ[VARIABLE]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server has used since its start.

    Attributes:
        cpu_s: Seconds of CPU of all its processes, those that ended too; None where it is on another machine.
        wal_bytes: Written to its log.
    """

    cpu_s: float | None
    wal_bytes: int

    def __sub__(self, earlier: Usage) -> Usage:
        cpu_s = None if self.cpu_s is None or earlier.cpu_s is None else self.cpu_s - earlier.cpu_s
        return Usage(cpu_s, self.wal_bytes - earlier.wal_bytes)


async def usage(connection: Connection) -> Usage:
    """What the server of a connection has used so far."""
    row = await connection.fetchrow(
        "SELECT pg_backend_pid() AS pid, pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal"
    )
    assert row is not None
    return Usage(_family_cpu_s(row["pid"]), int(row["wal"]))


def _family_cpu_s(backend: int) -> float | None:
    """CPU of a server: its first process, its children, and those of them that ended."""
    try:
        postmaster = _stat(backend)[1]
    except FileNotFoundError:
        return None
    while True:
        own = _stat(postmaster)[11:15]
        ticks = sum(own) + _children_ticks(postmaster)
        if own == _stat(postmaster)[11:15]:  # else one of them ended between the two looks
            return ticks / _TICKS


def _children_ticks(postmaster: int) -> int:
    ticks = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = _stat(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[1] == postmaster:
                ticks += fields[11] + fields[12]
    return ticks


def _stat(pid: int) -> list[int]:
    """Numbers of /proc/PID/stat from the state on: 1 is its parent, 11 to 14 its CPU and its children's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [0, *map(int, fields[1:])]
