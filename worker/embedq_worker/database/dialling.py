"""Connect to a database that has several hosts or addresses, of which some may be silent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg

_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

AVOIDED_S = 60.0
"""Seconds for which a way that was silent is the last one to be tried."""

RESOLVED_WITHIN_S = 1.0
"""Seconds in which a name has to be looked up that has just been looked up."""

_REFUSALS = (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)
"""Failures after which the next host may do; `TimeoutError` is an `OSError`."""

_silent: dict[_Way, float] = {}
"""When a way was last found silent."""


class _Way(NamedTuple):
    """A host of a URL, or of a list of hosts.

    Attributes:
        host: Name, address or socket directory.
        port: None for the default.
        url: The URL with this host alone; empty for one of a list.
    """

    host: str
    port: int | None
    url: str


async def dial(dsn: str | None = None, **arguments: Any) -> _Connection:
    """Connect like `asyncpg.connect`, but with its timeout for each host and each address, as libpq does.

    asyncpg has one for all of them: it would spend that on the first one if that is switched off, each time.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: What became of the last host.
    """
    arguments |= {} if dsn is None else {"dsn": dsn}
    hosts = list(_hosts(arguments))
    refusal: Exception | None = None
    tried: set[_Way] = set()
    while way := await _best(hosts, tried):
        tried.add(way)
        try:
            connection: _Connection = await asyncpg.connect(**(arguments | _only(way)))
        except _REFUSALS as error:
            if isinstance(error, TimeoutError):
                # asyncio tries the addresses of a name in turn, and so did not get beyond the first.
                _silent.update(dict.fromkeys((way, *(await _addresses(way))[:1]), monotonic()))
            if way in hosts:  # an address alone may lack what TLS needs of the name
                refusal = error
        else:
            _silent.pop(way, None)
            return connection
    if refusal is not None:
        raise refusal
    found: _Connection = await asyncpg.connect(**arguments)
    return found


async def _best(hosts: Sequence[_Way], tried: set[_Way]) -> _Way | None:
    """The way to try next: those that were silent lately are the last."""
    ways = [way for host in hosts for way in (host, *(await _addresses(host) if _avoided(host) else ()))]
    return min((way for way in ways if way not in tried), key=_avoided, default=None)


def _avoided(way: _Way) -> bool:
    return monotonic() - _silent.get(way, -AVOIDED_S) < AVOIDED_S


def _hosts(arguments: Mapping[str, Any]) -> Iterator[_Way]:
    """The hosts, if they are in the URL or a list; asyncpg knows where else they may be."""
    if url := arguments.get("dsn"):
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        userinfo, at, hosts = parts.netloc.rpartition("@")
        # It compares the hosts with each other.
        if hosts and "host" not in query and query.get("target_session_attrs") != ["prefer-standby"]:
            for host in hosts.split(","):
                alone = parts._replace(netloc=f"{userinfo}{at}{host}")
                yield _Way(alone.hostname or "", alone.port, alone.geturl())
    elif host := arguments.get("host"):
        for name in [host] if isinstance(host, str) else host:
            yield _Way(name, arguments.get("port"), "")


def _only(way: _Way) -> dict[str, Any]:
    return {"dsn": way.url} if way.url else {"host": way.host}


async def _addresses(way: _Way) -> list[_Way]:
    """A way for each address of a name that has several."""
    found = []
    with suppress(OSError):  # it is no name but a socket directory, or name servers are silent too
        async with asyncio.timeout(RESOLVED_WITHIN_S):
            found = await asyncio.get_running_loop().getaddrinfo(way.host, way.port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    return [_at(way, address) for address in addresses] if len(addresses) > 1 else []


def _at(way: _Way, address: str) -> _Way:
    if not way.url:
        return way._replace(host=address)
    parts = urlsplit(way.url)
    userinfo, at, _ = parts.netloc.rpartition("@")
    written = f"[{address}]" if ":" in address else address
    netloc = f"{userinfo}{at}{written}{f':{way.port}' if way.port else ''}"
    return _Way(address, way.port, parts._replace(netloc=netloc).geturl())
