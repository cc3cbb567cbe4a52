"""Fixtures that all tests share: a real PostgreSQL, and databases on it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest

from embedq_worker.configuration.loading import spellings_of
from embedq_worker.configuration.settings import Settings
from tests.commands.running import Tui
from tests.support.databases import DIMENSIONS, Administrator, Connection, Database, Server, inspect
from tests.support.postgres import embedded_binaries, running_server
from tests.support.provider_stub import ProviderStub

SERVER_VARIABLE = "EMBEDQ_TEST_DATABASE_URL"
"""URL of an administrator on a running server; without it the tests start one of their own."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "pgvector: needs the pgvector extension on the server")
    # However busy the machine is, slow is not wrong.
    hypothesis.settings.register_profile(
        "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("patient")
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # `make test &` of a script; programs would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for field in Settings.model_fields.values():  # what the developer has set must not change a test
        for name in spellings_of(field):
            os.environ.pop(name, None)


def pytest_make_parametrize_id(val: object) -> str | None:
    """A name that fits into an environment, for a text of megabytes too: pytest puts it there."""
    return f"{val[:40]!a}..." if isinstance(val, str | bytes) and len(val) > 200 else None


def pytest_collection_finish() -> None:
    """What was loaded stays: the collector of garbage need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server of this test run."""
    with ExitStack() as stack:
        url = os.environ.get(SERVER_VARIABLE) or stack.enter_context(running_server(embedded_binaries()))
        administrator = stack.enter_context(closing(Administrator(url)))
        yield replace(asyncio.run(inspect(url)), administrator=administrator)


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    """Name of a database that was migrated once."""
    asyncio.run(server.make_template())
    yield server.template
    asyncio.run(server.drop(server.template))


@pytest.fixture(autouse=True)
def _needs_pgvector(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("pgvector"):
        server: Server = request.getfixturevalue("server")
        if not server.has_pgvector:
            pytest.skip("no pgvector on this server")


@pytest.fixture
async def database(server: Server, template: str) -> AsyncIterator[Database]:
    """A fresh migrated database."""
    async with server.new_database(template) as made:
        yield made


@pytest.fixture
async def empty_database(server: Server) -> AsyncIterator[Database]:
    """A fresh database with nothing in it."""
    async with server.new_database() as made:
        yield made


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    """A connection to `database`."""
    opened = await database.connect()
    yield opened
    await opened.close()


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Tui:
    """Commands without a database: nothing listens where they look for one."""
    monkeypatch.chdir(tmp_path)  # where no .env is
    return Tui({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}, capsys, monkeypatch)


@pytest.fixture
async def stub() -> AsyncIterator[ProviderStub]:
    """A provider that answers."""
    async with ProviderStub(dimensions=DIMENSIONS) as running:
        yield running
