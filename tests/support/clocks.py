"""Run a process with a wrong clock, by libfaketime or, without it, by patching Python's clock."""

from __future__ import annotations

import os
from collections.abc import Mapping
from glob import glob
from pathlib import Path
from tempfile import gettempdir

_LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")

_SHIFTED = """
import os, time
_by, _time, _time_ns = float(os.environ["EMBEDQ_TEST_CLOCK"]), time.time, time.time_ns
time.time = lambda: _time() + _by
time.time_ns = lambda: _time_ns() + int(_by * 1e9)
"""


def shifted(variables: Mapping[str, str], by_s: float) -> dict[str, str]:
    """The environment of a Python process with a wrong clock.

    The monotonic clock is not changed, as it cannot be set on real hosts either.

    Args:
        variables: Its environment.
        by_s: Seconds by which it is ahead; negative if it is behind.
    """
    if library := faketime():
        return {
            **variables,
            "LD_PRELOAD": library,
            "FAKETIME": f"{by_s:+.0f}s",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
    folder = Path(gettempdir(), f"embedq-clock-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_SHIFTED)
    path = os.pathsep.join(filter(None, [str(folder), variables.get("PYTHONPATH", "")]))
    return {**variables, "PYTHONPATH": path, "EMBEDQ_TEST_CLOCK": str(by_s)}


def faketime() -> str:
    """Path of libfaketime; empty if it is not installed."""
    return next((found for pattern in _LIBRARIES for found in glob(pattern)), "")
