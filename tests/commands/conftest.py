"""The commands of `embedq-tui`, against nothing, an empty and a migrated database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.commands.every_command import Furnished, furnish
from tests.commands.running import Tui
from tests.support.databases import DIMENSIONS, Connection, Database
from tests.support.provider_stub import ProviderStub


@pytest.fixture
def tui(anywhere: Tui, database: Database) -> Tui:
    """Commands against a fresh migrated database."""
    anywhere.variables |= {"DATABASE_URL": database.url, "EMBEDDING_DIMENSIONS": str(DIMENSIONS)}
    return anywhere


@pytest.fixture
def bare_tui(anywhere: Tui, empty_database: Database) -> Tui:
    """Commands against a database with nothing in it."""
    anywhere.variables |= {"DATABASE_URL": empty_database.url, "EMBEDDING_DIMENSIONS": str(DIMENSIONS)}
    return anywhere


@pytest.fixture
async def hard(tui: Tui) -> AsyncIterator[Tui]:
    """Commands with a provider that answers."""
    async with ProviderStub(dimensions=DIMENSIONS) as stub:
        tui.variables["OPENAI_BASE_URL"] = stub.openai_url
        yield tui


@pytest.fixture
async def furnished(hard: Tui, connection: Connection, tmp_path: Path) -> Furnished:
    """A database in which every command has something to do."""
    return await furnish(hard, connection, tmp_path)
