"""Whether processes have ended."""

from __future__ import annotations

import os

import psutil


def gone(process: psutil.Process | int) -> bool:
    """Whether a process is no more, or only waits for somebody who is not us to look at it."""
    try:
        found = psutil.Process(process) if isinstance(process, int) else process
        return found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def is_no_child(pid: int) -> bool:
    """Whether no zombie of ours is left of it."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return False
