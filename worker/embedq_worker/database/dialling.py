"""Connect to a database that has several hosts or addresses, of which some may be silent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg

from embedq_worker.errors import UsageError

_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
_Try: TypeAlias = "asyncio.Task[_Connection]"

HEAD_START_S = 1.0
"""Seconds of silence after which the next host or address is tried, too."""

RESOLVED_WITHIN_S = 1.0
"""Seconds in which a name has to be looked up that has just been looked up."""

_REFUSALS = (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)
"""Failures after which another host may do; `TimeoutError` is an `OSError`."""


class _Host(NamedTuple):
    """A host of a URL, or of a list of hosts.

    Attributes:
        host: Name, address or socket directory.
        port: None for the default.
        url: The URL with this host alone; empty for one of a list.
        address: One of its addresses, to be used instead of its name; empty for the name.
    """

    host: str
    port: int | None
    url: str
    address: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """For `asyncpg.connect`, which prefers ``host`` and ``port`` to those of a URL."""
        named = {"dsn": self.url} if self.url else {"host": self.host}
        return named | ({"host": self.address, "port": self.port} if self.address else {})


async def dial(dsn: str | None = None, **arguments: Any) -> _Connection:
    """Connect like `asyncpg.connect`, without letting a silent host or address hide the others.

    asyncpg tries hosts one after the other, and asyncio the addresses of a name, with one timeout for all,
    which a first one that is switched off uses up each time. Here each has the whole timeout, and a head
    start on the next.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: What became of the last host, or of one that did answer.
    """
    arguments |= {} if dsn is None else {"dsn": dsn}
    hosts = list(_hosts(arguments))
    if not hosts:
        return await _connect(arguments)
    tries: list[_Try] = []
    found: _Connection | None = None
    try:
        async for host in _ways(hosts, tries):
            tries.append(asyncio.create_task(_connect(arguments | host.arguments)))
            if found := await _answer(tries, HEAD_START_S):
                return found
        # The last host, not an address of one: that may lack what TLS needs of the name.
        found = await _answer(tries, None) or tries[len(hosts) - 1].result()
        return found
    finally:
        # Not awaited: a cancellation meanwhile would lose the connections, open as they are.
        for each in tries:
            each.cancel()
            each.add_done_callback(partial(_drop, found))


def _drop(found: _Connection | None, tried: _Try) -> None:
    """End the connection of a try, unless it is the one that was found."""
    if not tried.cancelled() and not tried.exception() and tried.result() is not found:
        tried.result().terminate()


async def _connect(arguments: Mapping[str, Any]) -> _Connection:
    try:
        connection: _Connection = await asyncpg.connect(**arguments)
    except KeyError:  # of `getpass`, before Python 3.13
        raise UsageError(
            "no role of the database is given, and the user of this process has no name to use instead",
            "set DB_USER, or write the role into DATABASE_URL",
        ) from None
    return connection


async def _ways(hosts: Sequence[_Host], tries: Sequence[_Try]) -> AsyncIterator[_Host]:
    """All hosts; then, by address, those that are still silent."""
    for host in hosts:
        yield host
    for host, tried in zip(hosts, tuple(tries), strict=True):
        # asyncio did not get beyond the first address, unless that refused.
        for address in () if tried.done() else (await _addresses(host))[1:]:
            yield host._replace(address=address)


async def _answer(tries: Iterable[_Try], within_s: float | None) -> _Connection | None:
    """The connection of the first that succeeds; None if none does in time, or all are refused.

    Raises:
        asyncpg.PostgresError: A database answered; another host of it would say the same.
    """
    began = monotonic()
    waiting = {each for each in tries if not each.done()}  # those that are done were refused
    while waiting:
        left_s = None if within_s is None else max(began + within_s - monotonic(), 0.0)
        done, waiting = await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            return None
        for each in done:
            if not isinstance(each.exception(), _REFUSALS):
                return each.result()
    return None


def _hosts(arguments: Mapping[str, Any]) -> Iterator[_Host]:
    """The hosts, if they are in the URL or a list; asyncpg knows where else they may be."""
    if url := arguments.get("dsn"):
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        userinfo, at, hosts = parts.netloc.rpartition("@")
        # It compares the hosts with each other.
        if hosts and "host" not in query and query.get("target_session_attrs") != ["prefer-standby"]:
            for host in hosts.split(","):
                alone = parts._replace(netloc=f"{userinfo}{at}{host}")
                yield _Host(alone.hostname or "", alone.port, alone.geturl())
    elif host := arguments.get("host"):
        for name in [host] if isinstance(host, str) else host:
            yield _Host(name, arguments.get("port"), "")


async def _addresses(host: _Host) -> list[str]:
    found = []
    # It is no name but a socket directory, and perhaps too long for a name; or name servers are silent too.
    with suppress(OSError, UnicodeError):
        async with asyncio.timeout(RESOLVED_WITHIN_S):
            found = await asyncio.get_running_loop().getaddrinfo(
                host.host, host.port, type=socket.SOCK_STREAM
            )
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
