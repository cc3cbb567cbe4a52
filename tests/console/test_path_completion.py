"""Paths that are completed while they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedq_tui.dialogs.choose import PathCompletion


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's home, where the console was started, with two folders and two files."""
    home = tmp_path / "ann"
    for folder in ("docs/guides", ".cache"):
        (home / folder).mkdir(parents=True)
    (home / "notes.md").touch()
    (home / "re\x1bd.md").touch()
    (tmp_path / "ann-old").mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("d", "docs/"),
        ("n", "notes.md"),
        ("docs/", "docs/guides/"),
        ("~/no", "~/notes.md"),
        ("~/docs/g", "~/docs/guides/"),
        (".c", ".cache/"),
        ("./", "./docs/"),  # nothing hidden
        ("notes.md", None),  # nothing to add
        ("~", None),  # and not what another folder is called beside it
        ("r", None),  # a control sequence is not shown
        ("x", None),
        ("", "docs/"),
        ("nowhere/x", None),
        ("a\0b/c", None),
    ],
)
async def test_a_path_is_completed_by_what_is_there(home: Path, typed: str, completed: str | None) -> None:
    assert await PathCompletion().get_suggestion(typed) == completed
