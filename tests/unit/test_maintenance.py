"""The chores of a worker while the database does not let them be done."""

from __future__ import annotations

import asyncio
import io
from typing import cast
from unittest.mock import Mock
from uuid import uuid4

import asyncpg
import pytest

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Pool
from embedq_worker.service import maintenance
from embedq_worker.service.logs import open_log
from embedq_worker.service.maintenance import Maintenance
from embedq_worker.service.metrics import WorkerMetrics

ROUNDS = 30


class BrokenPool:
    """Every statement fails.

    Args:
        error: How.
    """

    def __init__(self, error: Exception) -> None:
        self._error = error
        self._left = ROUNDS
        self.tired = asyncio.Event()

    async def execute(self, *_: object) -> None:
        self._left -= 1
        if not self._left:
            self.tired.set()
        raise self._error


async def logged(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[str]:
    """Lines that a night of failing chores leaves."""
    monkeypatch.setattr(maintenance, "FOLD_EVERY_S", 0.001)
    stream, pool = io.StringIO(), BrokenPool(error)
    chores = Maintenance(
        cast("Pool", pool),
        Settings(),
        uuid4(),
        list,
        cast("WorkerMetrics", Mock()),
        open_log("text", "info", stream),
    )
    running = asyncio.create_task(chores.run())
    await pool.tired.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return stream.getvalue().splitlines()


async def test_a_chore_that_the_database_refuses_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = await logged(monkeypatch, asyncpg.DiskFullError("could not extend file"))
    assert "could not extend file" in line


async def test_that_the_database_is_away_is_left_to_the_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await logged(monkeypatch, ConnectionRefusedError("refused")) == []
