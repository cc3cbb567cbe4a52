"""The process behind `embedded_server`: starts PostgreSQL, lives as long as its standard input, stops it.

    python -m embedq_worker.embedded.keeper FOLDER [--fresh]

The folder holds:
    embedq-demo    says that the folder is ours, and may be emptied
    lock           locked while the server is being started or stopped
    users          locked, shared, by each process that uses the server; a killed one holds nothing
    data/          the data folder
    sockets        leads to the folder of the server's socket, where the path of data/ is too long for one
    server.log     of its last start
    programs-*/    a copy of PostgreSQL where root's server has no way to the original
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

import asyncpg

from embedq_worker.embedded.cluster import Cluster
from embedq_worker.embedded.programs import find_programs
from embedq_worker.errors import EmbedqError

MARKER = "embedq-demo"
DATABASE = "embedq"

_MARKER_TEXT = "This folder was made by `embedq-tui demo`. `embedq-tui demo --fresh` deletes what is in it.\n"


@contextmanager
def used_server(folder: Path, *, fresh: bool) -> Iterator[tuple[str, bool]]:
    """Start the server or join those who use it; stop it when the last one leaves.

    Args:
        folder: Where it is, absolute.
        fresh: Delete the data first.

    Yields:
        URL of the database, and whether the data is new.
    """
    _prepare_folder(folder)
    with (folder / "users").open("a") as users:
        with _locked(folder / "lock"):
            cluster = Cluster(folder, find_programs(folder))
        try:
            with _locked(folder / "lock"):
                if fresh:
                    _start_over(cluster, users)
                fcntl.flock(users, fcntl.LOCK_SH)  # nobody holds it otherwise without holding the lock too
                is_new = cluster.initialise()
                sockets = cluster.start()
                asyncio.run(_ensure_database(sockets))
            yield _url(sockets, DATABASE), is_new
        finally:
            with _locked(folder / "lock"):
                if _is_last(users):
                    cluster.stop()


def _prepare_folder(folder: Path) -> None:
    """Make the folder and mark it as ours.

    Raises:
        EmbedqError: It holds something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / MARKER
    if any(folder.iterdir()) and not marker.exists():
        raise EmbedqError(
            f"{folder} holds files that embedq did not make", "name a new or an empty folder with --path"
        )
    if not marker.exists():
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)  # root's server is another user's
        marker.write_text(_MARKER_TEXT)


def _start_over(cluster: Cluster, users: TextIO) -> None:
    if not _is_last(users):
        raise EmbedqError(f"another demo uses {cluster.folder}", "end it first")
    cluster.stop()
    if cluster.data.exists():
        shutil.rmtree(cluster.data)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_last(users: TextIO) -> bool:
    """Whether nobody else uses the server; asked by who does not use it (any more), under the lock."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _ensure_database(sockets: str) -> None:
    connection = await asyncpg.connect(_url(sockets, "postgres"))
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()


def _url(sockets: str, database: str) -> str:
    return f"postgresql://postgres@/{database}?host={quote(sockets, safe='/')}&port=5432"


def main() -> int:
    """Serve until standard input ends; one line of JSON on standard output tells the URL or the error."""
    folder, fresh = Path(sys.argv[1]), "--fresh" in sys.argv[2:]
    os.umask(0o022)  # the copy of the programs is for another user
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # who uses us decides when we end
        signal.signal(number, signal.SIG_IGN)
    try:
        with used_server(folder, fresh=fresh) as (url, is_new):
            print(json.dumps({"url": url, "is_new": is_new}), flush=True)
            sys.stdin.read()
    except EmbedqError as error:
        print(json.dumps({"message": error.message, "advice": error.advice}), flush=True)
        return 1
    except OSError as error:
        message = f"{folder} cannot be used: {error.strerror or error}"
        print(json.dumps({"message": message, "advice": "name another folder with --path"}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
