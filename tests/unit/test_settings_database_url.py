"""DATABASE_URL, DB_* and PG*: what arrives at a server through the driver, byte by byte."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from embedq_worker.configuration.loading import load_settings
from embedq_worker.configuration.settings import Settings

_TLS_ASKED = 80877103


@dataclass(slots=True)
class Greeting:
    """What a client said before it was sent away."""

    port: int = 0
    startup: dict[str, str] = field(default_factory=dict)
    password: str = ""
    tls_asked: bool = False


@asynccontextmanager
async def greeter(folder: Path | None = None) -> AsyncIterator[Greeting]:
    """A server that asks who is there, and for the password in clear, and refuses."""
    heard = Greeting()

    handlers: list[asyncio.Task[None]] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.append(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await _refuse(heard, reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    if folder is None:
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        heard.port = server.sockets[0].getsockname()[1]
    else:
        server = await asyncio.start_unix_server(accept, folder / ".s.PGSQL.5432")
    async with server:
        yield heard
        await asyncio.gather(*handlers)


async def _refuse(heard: Greeting, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    packet = await _packet(reader)
    if struct.unpack(">I", packet[:4])[0] == _TLS_ASKED:
        heard.tls_asked = True
        writer.write(b"N")
        packet = await _packet(reader)
    words = packet[4:].decode().split("\0")
    heard.startup = dict(zip(words[::2], words[1::2], strict=False))
    writer.write(b"R" + struct.pack(">II", 8, 3))
    await reader.readexactly(1)
    heard.password = (await _packet(reader)).rstrip(b"\0").decode()
    refusal = b"SFATAL\0C28P01\0Mno\0\0"
    writer.write(b"E" + struct.pack(">I", len(refusal) + 4) + refusal)


async def _packet(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    return await reader.readexactly(length - 4)


async def knock(settings: Settings) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(**{"timeout": 5, **settings.connect_arguments()})


def settings_of(url: str) -> Settings:
    return load_settings(database_url=url)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PGSERVICE", "PGPASSFILE", "PGSSLROOTCERT", "PGTARGETSESSIONATTRS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://joe:pw@127.0.0.1:{port}/articles",
        "postgresql://joe:pw@127.0.0.1:{port}/articles",
        "postgresql+asyncpg://joe:pw@127.0.0.1:{port}/articles?ssl=false&prepared_statement_cache_size=0",
        " PostgreSQL+psycopg://joe:pw@127.0.0.1:{port}/articles\n",
        "postgresql://joe:pw@127.0.0.1:{port}/articles?schema=public&connection_limit=5&pool_timeout=10",
        "postgresql://joe:pw@127.0.0.1:{port}/articles?pgbouncer=true&statement_cache_size=0",
        "postgresql://joe:pw@127.0.0.1:{port}/articles?sslmode=disable&channel_binding=disable",
        "postgresql://joe:pw@127.0.0.1:{port}/articles?keepalives=1&gssencmode=disable&client_encoding=latin1",
        "postgresql://127.0.0.1:{port}/articles?user=joe&password=pw",
        "postgresql:///articles?host=127.0.0.1&port={port}&user=joe&password=pw&connect_timeout=4",
        "postgresql://joe:pw@127.0.0.1:{port},127.0.0.2:1/articles",
    ],
)
async def test_urls_of_other_programs_lead_to_the_database(url: str) -> None:
    async with greeter() as heard:
        await knock(settings_of(url.format(port=heard.port)))
    assert (heard.startup["user"], heard.startup["database"], heard.password) == ("joe", "articles", "pw")
    assert set(heard.startup) - {""} == {"user", "database", "client_encoding"}
    assert heard.startup["client_encoding"].strip("'").lower() in ("utf-8", "utf8", "unicode")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("postgresql://joe:pw@db.example/articles", "db.example"),
        ("postgresql:///articles?host=db.example&password=pw", "db.example"),
        ("postgresql:///articles?service=live&password=pw", "live"),
        ("postgresql:///articles?host=/var/run/postgresql", "socket"),
        ("postgresql:///articles", "socket"),
    ],
)
def test_where_the_database_is_told_whichever_part_of_the_url_says_it(url: str, host: str) -> None:
    place = settings_of(url).place
    assert (host in place, "pw" in place) == (True, False)


@pytest.mark.parametrize(
    ("written", "password"),
    [
        ("p%40ss%2Fw%3Fo%23r%3Ad", "p@ss/w?o#r:d"),
        ("p@ss", "p@ss"),
        ("a+b%20c", "a+b c"),
        ("p:w", "p:w"),
        ("%D9%BE", "پ"),
        ("100%25", "100%"),
    ],
)
async def test_a_password_arrives_as_it_is(written: str, password: str) -> None:
    async with greeter() as heard:
        await knock(settings_of(f"postgresql://j%40e:{written}@127.0.0.1:{heard.port}/my%20db"))
    assert (heard.startup["user"], heard.startup["database"]) == ("j@e", "my db")
    assert heard.password == password


@pytest.mark.parametrize("mode", ["sslmode=no-verify", "sslmode=require", "ssl=true", "ssl=no-verify"])
async def test_tls_is_asked_for_in_whatever_words(mode: str) -> None:
    async with greeter() as heard:
        settings = settings_of(f"postgresql://joe:pw@127.0.0.1:{heard.port}/articles?{mode}")
        with pytest.raises((ConnectionError, asyncpg.InterfaceError)):
            await asyncpg.connect(**settings.connect_arguments())
    assert heard.tls_asked
    assert heard.startup == {}


@pytest.mark.parametrize("parameter", ["schema", "currentSchema"])
async def test_a_schema_becomes_the_search_path_and_other_parameters_reach_the_server(parameter: str) -> None:
    async with greeter() as heard:
        url = f"postgresql://joe:pw@127.0.0.1:{heard.port}/articles?{parameter}=My-App&statement_timeout=5000"
        await knock(settings_of(url + "&application_name=a%20b"))
    assert heard.startup["search_path"] == '"My-App"'
    assert heard.startup["statement_timeout"] == "5000"
    assert heard.startup["application_name"] == "a b"


@pytest.mark.parametrize(("parameter", "seconds"), [("connect_timeout=4", 4.0), ("connect_timeout=0", None)])
def test_a_url_says_how_long_to_try_to_connect(parameter: str, seconds: float | None) -> None:
    settings = settings_of(f"postgresql://joe:pw@db.example/articles?{parameter}")
    assert settings.connect_arguments().get("timeout") == seconds


async def test_a_socket_is_found_in_each_way_to_name_it(tmp_path: Path) -> None:
    quoted = str(tmp_path).replace("/", "%2F")
    for settings in (
        settings_of(f"postgresql://joe:pw@/articles?host={tmp_path}"),
        settings_of(f"postgresql:///articles?host={quoted}&user=joe&password=pw"),
        settings_of(f"postgresql://joe:pw@{quoted}/articles"),
        load_settings(db_host=str(tmp_path), db_user="joe", db_password="pw", db_name="articles"),
    ):
        async with greeter(tmp_path) as heard:
            await knock(settings)
        (tmp_path / ".s.PGSQL.5432").unlink(missing_ok=True)
        assert (heard.startup["user"], heard.startup["database"]) == ("joe", "articles")
        assert heard.password == "pw"


async def test_without_a_host_the_environment_of_libpq_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    async with greeter() as heard:
        monkeypatch.setenv("PGHOST", "127.0.0.1")
        monkeypatch.setenv("PGPORT", str(heard.port))
        monkeypatch.setenv("PGPASSWORD", "pw")
        monkeypatch.setenv("PGUSER", "joe")
        for url in ("postgresql:///articles", "postgresql://joe@/articles"):
            heard.password = ""
            await knock(settings_of(url))
            assert (heard.startup["database"], heard.password) == ("articles", "pw")
        await knock(settings_of("postgresql://jane@/"))
        assert heard.startup["database"] == "jane"


async def test_the_url_wins_over_db_over_pg_wherever_each_of_them_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with greeter() as heard:
        place = {"DB_HOST": "127.0.0.1", "DB_PORT": str(heard.port), "DB_SSL": "off"}
        there = {"DB_NAME": "db", "DB_USER": "db", "DB_PASSWORD": "db"}
        elsewhere = {"PGHOST": "pg", "PGPORT": "1", "PGDATABASE": "pg", "PGUSER": "pg", "PGPASSWORD": "pg"}
        (tmp_path / ".env").write_text("\n".join(f"{n}={v}" for n, v in {**place, **there}.items()))
        for name, value in elsewhere.items():
            monkeypatch.setenv(name, value)
        await knock(load_settings())
        assert (heard.startup["database"], heard.startup["user"], heard.password) == ("db", "db", "db")
        (tmp_path / ".env").write_text("\n".join(f"{n}={v}" for n, v in place.items()))
        await knock(load_settings())
        assert (heard.startup["database"], heard.startup["user"], heard.password) == ("pg", "pg", "pg")
        monkeypatch.setenv("DATABASE_URL", f"postgresql://url:url@127.0.0.1:{heard.port}/url")
        await knock(load_settings())
        assert (heard.startup["database"], heard.startup["user"], heard.password) == ("url", "url", "url")


@pytest.mark.parametrize("name", ["DB_HOST", "PGHOST"])
async def test_several_hosts_are_tried_one_after_the_other(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with greeter() as heard:
        there = {
            name: "nowhere.invalid,127.0.0.1",
            "DB_PORT": str(heard.port),
            "DB_USER": "me",
            "DB_SSL": "off",
        }
        for variable, value in there.items():
            monkeypatch.setenv(variable, value)
        settings = load_settings()
        await knock(settings)
        assert heard.startup["user"] == "me"
        assert settings.place.startswith(there[name])


@pytest.mark.parametrize(
    ("word", "mode"),
    [("true", "require"), ("1", "require"), ("YES", "require"), ("on", "require"), ("no-verify", "require")]
    + [("false", "disable"), ("0", "disable"), ("no", "disable"), (" Off ", "disable")]
    + [(word, word) for word in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")],
)
def test_every_word_for_tls_is_understood(word: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_SSL", word)
    assert load_settings().connect_arguments()["ssl"] == mode
    if mode == word:
        found: dict[str, Any] = settings_of(f"postgresql://h/d?sslmode={word}").connect_arguments()
        assert found["dsn"].endswith(f"sslmode={word}")


@pytest.mark.parametrize(
    ("parameters", "size"),
    [("", 200), ("?pgbouncer=true", 0), ("?pgbouncer=false", 200), ("?statement_cache_size=0", 0)],
)
def test_a_url_made_for_pgbouncer_prepares_nothing(parameters: str, size: int) -> None:
    arguments = settings_of(f"postgresql://h/d{parameters}").connect_arguments()
    assert arguments["statement_cache_size"] == size
