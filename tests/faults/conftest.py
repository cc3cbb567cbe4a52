"""Fixtures of the tests that break things."""

from __future__ import annotations

import pytest

from tests.support.databases import Connection
from tests.support.oracle import install_witness


@pytest.fixture
async def witness(connection: Connection) -> None:
    """What happens to tasks is written down, so that the oracle can judge it."""
    await install_witness(connection)
