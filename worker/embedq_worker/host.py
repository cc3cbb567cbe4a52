"""The machine a worker runs on, as far as another worker can make use of it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """Where a process runs.

    Attributes:
        name: Host name, for people.
        pid: Of this process.
        key: Equal for processes that can look up each other's pid: same boot, same pid namespace. Empty
            where that cannot be told.
    """

    name: str
    pid: int
    key: str

    def has_process(self, pid: int) -> bool:
        """Whether a process of this pid exists; True where that cannot be told."""
        return not self.key or runs(pid)


def runs(pid: int) -> bool:
    """Whether there is a process of this pid here, whosever it is."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def this_host() -> HostIdentity:
    """Describe this process and its machine."""
    return HostIdentity(socket.gethostname(), os.getpid(), _key())


def _key() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
