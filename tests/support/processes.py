"""Check whether processes have ended."""

from __future__ import annotations

import os

import psutil


def gone(process: psutil.Process | int) -> bool:
    """Whether a process has ended, or is a zombie that another process must reap."""
    try:
        found = psutil.Process(process) if isinstance(process, int) else process
        return found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def is_no_child(pid: int) -> bool:
    """Whether it has ended and left no zombie of ours."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return False
