"""Fixtures of the tests that need a queue."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.databases import Database
from tests.support.legacy import make_legacy
from tests.support.queue_world import World, open_world


@pytest.fixture
async def world(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[World]:
    """A queue; its storage is the parameter, see `BOTH_STORAGES`."""
    async with open_world(database, getattr(request, "param", None)) as opened:
        yield opened


@pytest.fixture
async def legacy(empty_database: Database) -> Database:
    """A database of another program, with its tables and 200 tasks."""
    await make_legacy(await empty_database.connect())
    return empty_database
