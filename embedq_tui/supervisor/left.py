"""Workers that were left running on purpose, and where they write their logs."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import time

from embedq_tui.folders import state_folder
from embedq_worker.errors import SettingsError
from embedq_worker.host import runs

KEPT_S = 14 * 86_400.0
"""So long the log of a worker that is gone is kept."""


@dataclass(frozen=True, slots=True)
class LeftWorker:
    """A worker that was left running.

    Attributes:
        pid: Of its process.
        log: Where it writes its log; None where no file could be made, and it writes none.
    """

    pid: int
    log: Path | None


def log_of(pid: int) -> Path | None:
    """The log of a worker that is left running, made for it alone to write; None where it cannot be made.

    It is in the folder that the XDG base directories name for state: ``~/.local/state/embedq``. Old logs of
    workers that are gone are removed there.
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
        with suppress(OSError):  # somebody else's, or removed meanwhile
            if pid.isdecimal() and time() - path.stat().st_mtime > KEPT_S and not runs(int(pid)):
                path.unlink()
