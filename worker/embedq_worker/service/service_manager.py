"""What a service manager is told of a worker: ready, alive, what it waits for, ending; by sd_notify(3).

systemd names its socket in NOTIFY_SOCKET; where there is none, nothing is told. The words of life come from
the event loop: a loop that does not turn any more is what the watchdog is for.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from embedq_worker.waits import beside, first_of

STATUS_EVERY_S = 5.0
"""A status is told when it is so old; more often where the watchdog wants to hear something."""

FAREWELL_S = 15.0
"""After the grace time: for giving back and signing off."""


class Subject(Protocol):
    """Who is told about."""

    @property
    def entered(self) -> asyncio.Event:
        """Set when it works."""

    @property
    def ending(self) -> asyncio.Event:
        """Set when it was asked to end."""

    @property
    def status(self) -> str:
        """What it does, in a line."""


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The socket of a service manager.

    Attributes:
        address: A path, or a name that begins with NUL.
        every_s: Seconds between two words of life.
    """

    address: str
    every_s: float = STATUS_EVERY_S

    @classmethod
    def named_in(cls, environment: MutableMapping[str, str]) -> ServiceManager | None:
        """Take the manager out of the environment, so that no child speaks to it in our name.

        Args:
            environment: ``os.environ``.

        Returns:
            None where nobody listens.
        """
        address = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us = environment.pop("WATCHDOG_USEC", "")
        meant = environment.pop("WATCHDOG_PID", "")
        if not address.startswith(("/", "@")):  # vsock and the like: a machine's, not a service's
            return None
        if address.startswith("@"):
            address = "\0" + address[1:]
        if not watchdog_us.isdigit() or int(watchdog_us) == 0 or meant not in ("", str(os.getpid())):
            return cls(address)
        return cls(address, min(STATUS_EVERY_S, int(watchdog_us) / 1_000_000 / 3))

    def tell(self, *words: str) -> None:
        """Send words such as ``READY=1``; a manager that takes none is no reason to wait or to fail."""
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(words).encode(), self.address)


@asynccontextmanager
async def informed(
    manager: ServiceManager | None, subject: Subject, *, grace_s: float
) -> AsyncIterator[None]:
    """Tell the manager about the subject while the block runs.

    Args:
        manager: None: nobody is told.
        subject: What works in the block.
        grace_s: Seconds it may take to end; asked for, whatever the unit says.
    """
    if manager is None:
        yield
        return
    async with beside(_tell(manager, subject, grace_s)):
        yield


async def _tell(manager: ServiceManager, subject: Subject, grace_s: float) -> None:
    await subject.entered.wait()
    manager.tell("READY=1", _status(subject))
    while not subject.ending.is_set():
        await first_of(subject.ending, timeout_s=manager.every_s)
        manager.tell("WATCHDOG=1", _status(subject))
    manager.tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int((grace_s + FAREWELL_S) * 1_000_000)}")
    while True:
        manager.tell("WATCHDOG=1", _status(subject))
        await asyncio.sleep(manager.every_s)


def _status(subject: Subject) -> str:
    return "STATUS=" + " ".join(subject.status.split())[:300]
