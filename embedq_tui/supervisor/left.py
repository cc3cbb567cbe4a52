"""Workers deliberately left running, and their log files."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import time

from embedq_tui.folders import state_folder
from embedq_worker.errors import SettingsError
from embedq_worker.process.host import runs

KEPT_S = 14 * 86_400.0
"""Seconds to keep the log of a worker that has ended."""


@dataclass(frozen=True, slots=True)
class LeftWorker:
    """A worker that was left running.

    Attributes:
        pid: Its process id.
        log: Its log file; None if no file could be created, so that it writes none.
    """

    pid: int
    log: Path | None


def log_of(pid: int) -> Path | None:
    """Create the log file of a worker that is left running, private to the user; None if that fails.

    It is in the XDG state folder, ``~/.local/state/embedq``. Old logs of workers that have ended are removed.
    """
    try:
        folder = state_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_old(folder)
        path = folder / f"worker-{pid}.log"
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    except (OSError, SettingsError):
        return None
    return path


def _remove_old(folder: Path) -> None:
    for path in folder.glob("worker-*.log"):
        pid = path.stem.removeprefix("worker-")
        with suppress(OSError):  # another user's, or removed in the meantime
            if pid.isdecimal() and time() - path.stat().st_mtime > KEPT_S and not runs(int(pid)):
                path.unlink()
