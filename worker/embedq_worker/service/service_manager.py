"""Tell a service manager by sd_notify(3) that a worker is ready, alive or stopping, and what it is doing.

systemd names its socket in NOTIFY_SOCKET; without one, nothing is sent. The watchdog messages come from the
event loop, so that the watchdog notices if that is blocked.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embedq_worker.waits import beside, first_of

if TYPE_CHECKING:
    from embedq_worker.service.service import Service

STATUS_EVERY_S = 5.0
"""Seconds between two status messages; fewer if the watchdog requires it."""

FAREWELL_S = 15.0
"""Added to the grace period, for returning tasks and deregistering."""


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The socket of a service manager.

    Attributes:
        address: A path, or a name that begins with NUL.
        every_s: Seconds between two watchdog messages.
    """

    address: str
    every_s: float = STATUS_EVERY_S

    @classmethod
    def named_in(cls, environment: MutableMapping[str, str]) -> ServiceManager | None:
        """Take the manager's variables out of the environment, so that no child process notifies it.

        Args:
            environment: ``os.environ``.

        Returns:
            None if there is no manager.
        """
        address = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us = environment.pop("WATCHDOG_USEC", "")
        meant = environment.pop("WATCHDOG_PID", "")
        if not address.startswith(("/", "@")):  # such as vsock, which is for virtual machines, not services
            return None
        if address.startswith("@"):
            address = "\0" + address[1:]
        if not watchdog_us.isdigit() or int(watchdog_us) == 0 or meant not in ("", str(os.getpid())):
            return cls(address)
        return cls(address, min(STATUS_EVERY_S, int(watchdog_us) / 1_000_000 / 3))

    def tell(self, *words: str) -> None:
        """Send messages such as ``READY=1``; if the manager does not accept them, they are dropped."""
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(words).encode(), self.address)


@asynccontextmanager
async def informed(
    manager: ServiceManager | None, service: Service, *, grace_s: float
) -> AsyncIterator[None]:
    """Keep the manager informed for the duration of the block.

    Args:
        manager: None if there is none.
        service: The worker that runs in the block.
        grace_s: Seconds it may take to stop; requested from the manager, whatever the unit says.
    """
    if manager is None:
        yield
        return
    async with beside(_keep_informed(manager, service, grace_s)):
        yield


async def _keep_informed(manager: ServiceManager, service: Service, grace_s: float) -> None:
    await service.entered.wait()
    manager.tell("READY=1", _status(service))
    while not service.ending.is_set():
        await first_of(service.ending, timeout_s=manager.every_s)
        manager.tell("WATCHDOG=1", _status(service))
    manager.tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int((grace_s + FAREWELL_S) * 1_000_000)}")
    while True:
        manager.tell("WATCHDOG=1", _status(service))
        await asyncio.sleep(manager.every_s)


def _status(service: Service) -> str:
    return "STATUS=" + " ".join(service.status.split())[:300]
