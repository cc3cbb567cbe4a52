"""The commands of `embedq-tui`, against nothing, an empty and a migrated database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.running import Tui
from tests.support.databases import DIMENSIONS, Database


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Tui:
    """Commands without a database: nothing listens where they look for one."""
    monkeypatch.chdir(tmp_path)  # where no .env is
    return Tui({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}, capsys, monkeypatch)


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
