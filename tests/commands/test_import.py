"""`embedq-tui import`: files into articles and tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedq_worker.errors import ExitCode
from tests.commands.running import Tui
from tests.support.content import statuses
from tests.support.databases import Connection


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Three readable files, one in a folder, and one that is not text."""
    folder = tmp_path / "library"
    (folder / "guide").mkdir(parents=True)
    (folder / "one.md").write_text("# One\n\nText.\n")
    (folder / "two.md").write_text("---\nno_rag: true\n---\n# Two\n")
    (folder / "guide" / "three.md").write_text("# Three\n\nMore text.\n")
    (folder / "broken.md").write_bytes(b"\xff\xfe\xfa")
    return folder


async def test_files_become_articles_and_tasks(tui: Tui, connection: Connection, library: Path) -> None:
    answer = await tui("import", library, "--json", "--priority", "high")
    assert answer.code == ExitCode.OK
    document = answer.document("import")
    assert (document["created"], document["updated"], document["unchanged"]) == (3, 0, 0)
    assert document["queued"] == 2
    assert [item["source"] for item in document["skipped"]] == [str(library / "broken.md")]
    assert await connection.fetchval("SELECT count(*) FROM embedding_tasks WHERE priority = 'high'") == 2

    await connection.execute("UPDATE articles SET folder = 'elsewhere' WHERE slug = 'one'")
    (library / "one.md").write_text("# One\n\nOther text.\n")
    again = await tui("import", library)
    assert again.code == ExitCode.OK
    assert "created 0, updated 1, unchanged 2" in again.out.lower()
    assert "broken.md" in again.err
    folders = await connection.fetch("SELECT slug, folder FROM articles ORDER BY slug")
    assert [tuple(row) for row in folders] == [("guide-three", "guide"), ("one", "elsewhere"), ("two", "")]


async def test_a_dry_run_writes_nothing(tui: Tui, connection: Connection, library: Path) -> None:
    answer = await tui("import", "--dry-run", library)
    assert answer.code == ExitCode.OK
    assert all(name in answer.out for name in ("one.md", "guide-three", "broken.md"))
    assert await connection.fetchval("SELECT count(*) FROM articles") == 0
    assert await statuses(connection) == {}
    assert (await tui("import", "--dry-run", library, "--json")).document("import")["dry_run"] is True


@pytest.mark.parametrize("folder", ["/handbook/", " ../handbook//. "])
async def test_a_folder_for_all(tui: Tui, connection: Connection, library: Path, folder: str) -> None:
    assert (await tui("import", library, "--folder", folder)).code == ExitCode.OK
    rows = await connection.fetch("SELECT slug, folder FROM articles ORDER BY slug")
    assert [(row["slug"], row["folder"]) for row in rows] == [
        ("guide-three", "handbook/guide"),
        ("one", "handbook"),
        ("two", "handbook"),
    ]


async def test_names_of_files_command_no_terminal(tui: Tui, tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m[red].md").write_bytes(b"\xff\xfe\xfa")
    answer = await tui("import", tmp_path)
    assert answer.code == ExitCode.NO
    assert "\x1b" not in answer.err
    assert "[red]" in answer.err


async def test_wrong_use(tui: Tui, library: Path) -> None:
    assert (await tui("import")).code == ExitCode.USAGE
    assert (await tui("import", library / "nothing")).code == ExitCode.USAGE
    assert (await tui("import", library, "--folder", "x" * 501)).code == ExitCode.USAGE
    assert (await tui("import", library, "--priority", "urgent")).code == ExitCode.USAGE
