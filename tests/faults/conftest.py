"""Fixtures of the tests that break things."""

from __future__ import annotations

import pytest

from embedq_worker.configuration.settings import Settings
from tests.support.databases import Connection, Database
from tests.support.oracle import install_witness
from tests.support.provider_stub import ProviderStub
from tests.support.supervised import settings_of


@pytest.fixture
async def witness(connection: Connection) -> None:
    """What happens to tasks is written down, so that the oracle can judge it."""
    await install_witness(connection)


@pytest.fixture
def settings(database: Database, stub: ProviderStub) -> Settings:
    """Of a worker that asks the stub."""
    return settings_of(database, stub)
