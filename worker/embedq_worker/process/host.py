"""The machine a worker runs on, described so that another worker can look up its process."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from embedq_worker.text import printable_line


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """Where a process runs.

    Attributes:
        name: Host name, for people.
        pid: Process ID.
        key: Equal for processes that can look up each other's pid: same boot, same pid namespace. Empty if
            unknown.
    """

    name: str
    pid: int
    key: str

    def has_process(self, pid: int) -> bool:
        """Whether a process with this pid exists; True if that cannot be determined."""
        return not self.key or runs(pid)


def runs(pid: int) -> bool:
    """Whether a process with this pid exists here, whoever owns it."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def this_host() -> HostIdentity:
    """Describe this process and its machine."""
    name = printable_line(socket.gethostname())  # the kernel takes any bytes, the database only text
    return HostIdentity(name, os.getpid(), _key())


def _key() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
