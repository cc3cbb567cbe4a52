"""The process behind `embedded_server`: starts PostgreSQL, and stops it when its standard input is closed.

    python -m embedq_worker.embedded.keeper FOLDER [--fresh]

The folder holds:
    embedq-demo    marks the folder as ours, so that it may be emptied
    lock           locked while the server is being started or stopped
    users          locked, shared, by each process that uses the server; the lock ends with the process
    data/          the data folder
    sockets        link to the folder of the server's socket, if the path of data/ is too long for one
    server.log     log since its last start
    programs-*/    a copy of PostgreSQL, if root's server cannot access the original
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

import asyncpg

from embedq_worker.embedded.cluster import Cluster
from embedq_worker.embedded.programs import find_programs
from embedq_worker.errors import EmbedqError
from embedq_worker.process.running import run

MARKER = "embedq-demo"
DATABASE = "embedq"

_MARKER_TEXT = (
    "This folder was created by `embedq-tui demo`. `embedq-tui demo --fresh` deletes its contents.\n"
)


@contextmanager
def used_server(folder: Path, *, fresh: bool) -> Iterator[tuple[str, bool]]:
    """Start the server or join its users; stop it when the last user leaves.

    Args:
        folder: Absolute path of its folder.
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
                fcntl.flock(users, fcntl.LOCK_SH)  # never blocks: exclusive locks are held only under `lock`
                is_new = cluster.initialise()
                sockets = cluster.start()
                run(_ensure_database(sockets))
            yield _url(sockets, DATABASE), is_new
        finally:
            with _locked(folder / "lock"):
                if _is_last(users):
                    cluster.stop()


def _prepare_folder(folder: Path) -> None:
    """Create the folder and mark it as ours.

    Raises:
        EmbedqError: It contains something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / MARKER
    if any(folder.iterdir()) and not marker.exists():
        raise EmbedqError(
            f"{folder} contains files that are not from embedq", "choose a new or empty folder with --path"
        )
    if not marker.exists():
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)  # root's server runs as another user
        marker.write_text(_MARKER_TEXT)


def _start_over(cluster: Cluster, users: TextIO) -> None:
    if not _is_last(users):
        raise EmbedqError(f"another demo is using {cluster.folder}", "end it first")
    cluster.stop()
    if cluster.data.exists():
        shutil.rmtree(cluster.data)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_last(users: TextIO) -> bool:
    """Whether no other process uses the server; call it under the lock, when not using the server."""
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


def _answer(**answer: object) -> None:
    with suppress(BrokenPipeError):  # nobody waits for it any more
        print(json.dumps(answer), flush=True)


def main() -> int:
    """Run until standard input is closed; print one line of JSON with the URL or the error."""
    folder, fresh = Path(sys.argv[1]), "--fresh" in sys.argv[2:]
    os.umask(0o022)  # the copy of the programs must be readable for another user
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the parent decides when this ends
        signal.signal(number, signal.SIG_IGN)
    try:
        with used_server(folder, fresh=fresh) as (url, is_new):
            _answer(url=url, is_new=is_new)
            sys.stdin.read()
    except EmbedqError as error:
        _answer(message=error.message, advice=error.advice)
        return 1
    except OSError as error:
        message = f"{folder} cannot be used: {error.strerror or error}"
        _answer(message=message, advice="choose another folder with --path")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
