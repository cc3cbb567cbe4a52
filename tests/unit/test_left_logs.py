"""The folder of logs of workers that were left running does not grow for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import time

import pytest

from embedq_tui.supervisor.left import KEPT_S, log_of


def test_only_old_logs_of_workers_that_are_gone_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = tmp_path / "embedq"
    folder.mkdir()
    old = time() - KEPT_S - 60
    names = {
        f"worker-{gone.pid}.log": old,
        f"worker-{os.getppid()}.log": old,
        "worker-x.log": old,
        "notes": old,
    }
    for name, changed in names.items():
        (folder / name).touch()
        os.utime(folder / name, (changed, changed))

    ours = log_of(os.getpid())

    assert ours == folder / f"worker-{os.getpid()}.log"
    left = {path.name for path in folder.iterdir()}
    assert left == {*names, ours.name} - {f"worker-{gone.pid}.log"}
    assert log_of(os.getpid()) == ours  # a fresh one stays
