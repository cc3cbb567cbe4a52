"""`embedq-tui --version`: what a report of a bug needs."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from embedq_worker import __version__
from tests.commands.running import Tui
from tests.support.databases import Connection


async def test_it_tells_all_that_is_at_work(tui: Tui, connection: Connection) -> None:
    answer = await tui("--version")
    assert answer.code == 0
    server = str(await connection.fetchval("SHOW server_version")).split()[0]
    for found in (__version__, version("textual"), version("asyncpg"), f"{server} at "):
        assert found in answer.out


async def test_it_needs_no_database(anywhere: Tui) -> None:
    answer = await anywhere("--version")
    assert (answer.code, answer.err, len(answer.out.splitlines())) == (0, "", 5)


@pytest.mark.parametrize("setting", ["CHUNK_SIZE", "DATABASE_URL"])
async def test_a_setting_that_cannot_be_used_is_no_reason_to_tell_nothing(
    anywhere: Tui, setting: str
) -> None:
    answer = await anywhere("--version", **{setting: "nonsense"})
    assert (answer.code, answer.err) == (0, "")
    assert __version__ in answer.out


async def test_textual_is_not_loaded_for_it(anywhere: Tui) -> None:
    answer = await anywhere.process("--version", PYTHONPROFILEIMPORTTIME="1")
    assert answer.code == 0
    assert "textual" not in {line.rpartition("|")[2].strip() for line in answer.err.splitlines()}
