"""A service manager's end of NOTIFY_SOCKET."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass, field

from tests.support.waiting import until


@dataclass
class ManagerStub:
    """A real datagram socket that records what it receives.

    Attributes:
        address: For NOTIFY_SOCKET; in the abstract namespace, where there is nothing to remove.
        told: ``NAME=value``, in the order received.
    """

    address: str = field(default_factory=lambda: f"@embedq-test-{os.getpid()}-{os.urandom(4).hex()}")
    told: list[str] = field(default_factory=list)
    _socket: socket.socket = field(init=False)

    def __enter__(self) -> ManagerStub:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:] if self.address.startswith("@") else self.address)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _take(self) -> None:
        self.told += self._socket.recv(65_536).decode().split("\n")

    def names(self) -> list[str]:
        """Names of what was told, each once, in the order in which they came first."""
        return list(dict.fromkeys(line.partition("=")[0] for line in self.told))

    def status(self) -> str:
        """What it was told last of what the service does; empty before."""
        told = [line for line in self.told if line.startswith("STATUS=")]
        return told[-1] if told else ""

    async def until_told(self, word: str, *, times: int = 1) -> None:
        """Wait until a message has been received this many times."""
        await until(lambda: self.told.count(word) >= times, within_s=20)
