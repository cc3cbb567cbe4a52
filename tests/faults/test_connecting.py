"""Connections that are not made: given up meanwhile, or asked for in vain."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import struct
import sys
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
import trustme
from pydantic import SecretStr

from embedq_worker.configuration.settings import Settings
from embedq_worker.database import dialling
from embedq_worker.database.connections import connect, connected, open_pool
from embedq_worker.database.line import Line
from embedq_worker.errors import Unreachable, UsageError
from tests.support.databases import Connection, Database, Server


async def test_a_connection_given_up_at_the_worst_moment_leaves_no_words(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    make = loop.create_connection

    async def interrupted(*arguments: Any, **options: Any) -> None:
        transport, _ = await make(*arguments, **options)
        transport.abort()
        raise asyncio.CancelledError

    monkeypatch.setattr(loop, "create_connection", interrupted)
    with pytest.raises(asyncio.CancelledError):
        await connect(database.settings)
    await asyncio.sleep(0)  # the loop tells that it is lost
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize("late", range(8))
async def test_a_connection_given_up_as_soon_as_it_is_there_is_closed(database: Database, late: int) -> None:
    """Late by so many rounds of the loop."""
    loop = asyncio.get_running_loop()
    made: list[Connection] = []

    def give_up(late: int) -> None:
        if late:
            loop.call_soon(give_up, late - 1)
        else:
            connecting.cancel()

    class Given(asyncpg.Connection):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)
            give_up(late)

    connecting = asyncio.create_task(dialling.dial(database.url, connection_class=Given))
    with suppress(asyncio.CancelledError):
        await (await connecting).close()
    await asyncio.sleep(0)
    assert [each.is_closed() for each in made] == [True]


@pytest.mark.pgvector
async def test_an_extension_that_moves_while_a_connection_is_prepared_is_found_where_it_is(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = Line.set_type_codec

    async def moved(line: Line, typename: str, **how: Any) -> None:
        if typename == "vector":
            monkeypatch.undo()
            await connection.execute("CREATE SCHEMA elsewhere; ALTER EXTENSION vector SET SCHEMA elsewhere")
        await register(line, typename, **how)

    monkeypatch.setattr(Line, "set_type_codec", moved)
    async with open_pool(database.settings, "embedq-test", size=1) as pool:
        assert await pool.fetchval("SELECT '[1,2]'::elsewhere.vector") == array("f", [1, 2])


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("sslmode=require", "DB_SSL"),  # of a server without
        ("sslmode=verify-full&sslrootcert=/nowhere/root.crt", "sslrootcert"),
        ("target_session_attrs=read-only", "target_session_attrs"),
    ],
)
async def test_what_the_url_asks_in_vain_is_no_connection_that_was_lost(
    database: Database, query: str, word: str
) -> None:
    told = await refused(f"{database.url}?{query}")
    assert word in str(told)
    assert "lost" not in told.message


async def test_a_database_that_takes_no_connections_is_not_reached(
    server: Server, database: Database
) -> None:
    name = urlsplit(database.url).path.strip("/")
    connection = await asyncpg.connect(server.url)
    try:
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await refused(database.url)
    finally:
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await connection.close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port at 127.0.0.2 where connections stay in the backlog, as with a machine that hangs."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.2", 0))
        listening.listen()
        yield listening.getsockname()[1]


async def test_a_host_that_is_silent_is_passed_over(database: Database, silent_port: int) -> None:
    url = database.url.replace("@", f"@127.0.0.2:{silent_port},")
    settings = Settings(_env_file=None, database_url=SecretStr(url))
    began = perf_counter()
    await (await connect(settings)).close()
    async with open_pool(settings, "embedq-test", size=1) as pool:
        assert await pool.fetchval("SELECT 1") == 1
    assert perf_counter() - began < 8, "less than the timeout of the silent one"


@pytest.mark.parametrize("hosts", ["127.0.0.1:{},127.0.0.1:1", "127.0.0.1:1,127.0.0.1:{}"])
async def test_what_a_host_answers_counts_whatever_becomes_of_the_others(
    database: Database, hosts: str
) -> None:
    url = f"postgresql://postgres@{hosts.format(urlsplit(database.url).port)}/gone"
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await connect(Settings(_env_file=None, database_url=SecretStr(url)))


def let_a_name_have(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let db.invalid have these addresses."""
    resolve = socket.getaddrinfo

    def resolved(host: str, *more: Any, **options: Any) -> list[Any]:
        names = addresses if host == "db.invalid" else (host,)
        return [found for name in names for found in resolve(name, *more, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


async def test_an_address_of_a_name_that_is_silent_is_passed_over(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_a_name_have(monkeypatch, "127.0.0.2", "127.0.0.1")
    port = urlsplit(database.url).port
    with socket.socket() as listening:
        listening.bind(("127.0.0.2", port))
        listening.listen()
        url = database.url.replace("127.0.0.1", "db.invalid")
        settings = Settings(_env_file=None, database_url=SecretStr(url))
        await (await connect(settings)).close()


async def test_after_a_silent_address_one_of_version_6_is_tried(
    monkeypatch: pytest.MonkeyPatch, silent_port: int
) -> None:
    let_a_name_have(monkeypatch, "127.0.0.2", "::1")
    url = f"postgresql://joe@db.invalid:{silent_port}/articles"
    with socket.socket(socket.AF_INET6) as listening:
        try:
            listening.bind(("::1", silent_port))
        except OSError:
            pytest.skip("no IPv6 on this machine")
        listening.listen()
        listening.setblocking(False)
        connecting = asyncio.create_task(connect(Settings(_env_file=None, database_url=SecretStr(url))))
        async with asyncio.timeout(20):
            reached, _ = await asyncio.get_running_loop().sock_accept(listening)
        reached.close()
        connecting.cancel()
        await asyncio.wait([connecting])


@pytest.mark.parametrize("name", ["db", "a-folder-whose-path-is-longer-than-any-label-of-a-host-may-be"])
async def test_a_socket_has_no_addresses_and_may_take_its_time(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "HEAD_START_S", 0.01)
    looked_up = asyncio.Event()
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo

    async def resolved(*arguments: Any, **options: Any) -> list[Any]:
        try:
            return await resolve(*arguments, **options)
        finally:
            looked_up.set()

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    with TemporaryDirectory() as root, socket.socket(socket.AF_UNIX) as listening:
        folder = f"{root}/{name}"
        os.mkdir(folder)
        listening.bind(f"{folder}/.s.PGSQL.5432")
        listening.listen()
        listening.setblocking(False)
        url = f"postgresql://joe@{quote(folder, safe='')}/gone"
        connecting = asyncio.create_task(connect(Settings(_env_file=None, database_url=SecretStr(url))))
        async with asyncio.timeout(20):
            await looked_up.wait()
            reached, _ = await loop.sock_accept(listening)
            told = b"SFATAL\0C3D000\0Mthere is no such database\0\0"
            await loop.sock_sendall(reached, b"E" + struct.pack("!i", 4 + len(told)) + told)
            with pytest.raises(asyncpg.InvalidCatalogNameError):
                await connecting
        reached.close()


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="getpass fails in another way")
async def test_a_user_without_a_name_is_told_to_name_a_role(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "PGUSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    settings = Settings(_env_file=None, database_url=SecretStr(database.url.replace("postgres@", "")))
    with pytest.raises(UsageError) as caught:
        await connect(settings)
    assert "DB_USER" in caught.value.advice


async def test_a_server_that_nobody_vouches_for(tmp_path: Path) -> None:
    served, other = trustme.CA(), trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.issue_cert("127.0.0.1").configure_cert(tls)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S")  # how PostgreSQL consents to TLS
        with suppress(OSError):
            await writer.start_tls(tls)
        writer.close()

    root = tmp_path / "root.crt"
    other.cert_pem.write_to_path(root)
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        told = await refused(f"postgresql://me@127.0.0.1:{port}/x?sslmode=verify-full&sslrootcert={root}")
    assert "DB_SSL" in told.advice


async def refused(url: str) -> Unreachable:
    """What is told of a connection that cannot be made."""
    settings = Settings(_env_file=None, database_url=SecretStr(url))
    with pytest.raises(Unreachable) as caught:
        async with connected(settings):
            pass
    return caught.value
