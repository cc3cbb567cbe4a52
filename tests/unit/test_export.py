"""Files that the console writes: exports, and filters with names."""

from __future__ import annotations

import csv
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from embedq_tui.filters.saved_filters import load_filters, store_filters
from embedq_tui.rendering.export import export_to, path_of, save
from embedq_worker.errors import EmbedqError, SettingsError, UsageError


@dataclass(frozen=True)
class Row:
    """Something that is exported."""

    slug: str
    at: datetime | None
    parts: tuple[int, ...] = ()


ROWS = [Row('=HYPERLINK("x")', None), Row('a,"b"\nc \x1b[2J 中', datetime(2026, 11, 24, tzinfo=UTC), (1, 2))]


def test_a_table_is_read_again_and_starts_no_formula(tmp_path: Path) -> None:
    with export_to(tmp_path / "rows.csv") as out:
        out.add(ROWS[:1])
        out.add(ROWS[1:])
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [row["slug"] for row in found] == ["'" + ROWS[0].slug, ROWS[1].slug]
    assert found[1]["at"] == "2026-11-24T00:00:00Z"
    assert json.loads(found[1]["parts"]) == [1, 2]


@pytest.mark.parametrize("rows", [[], ROWS])
def test_json_is_one_list(tmp_path: Path, rows: list[Row]) -> None:
    with export_to(tmp_path / "rows.json") as out:
        out.add(rows)
    found = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [row["slug"] for row in found] == [row.slug for row in rows]


def test_nothing_is_left_of_what_was_cut_short(tmp_path: Path) -> None:
    def stop() -> None:
        with export_to(tmp_path / "rows.csv") as out:
            out.add(ROWS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert not list(tmp_path.iterdir())


def test_only_new_files_of_a_known_kind_in_folders_that_exist(tmp_path: Path) -> None:
    (tmp_path / "old.csv").touch()
    for name in ("rows.txt", "old.csv", "none/rows.csv", ""):
        with pytest.raises(UsageError):
            path_of(str(tmp_path / name))
    assert path_of(str(tmp_path / "new.json")) == tmp_path / "new.json"


@pytest.mark.parametrize(
    "name", ["~nobody-of-this-name/rows.csv", f"{'x' * 300}.csv", "a\0.csv", "\ud800.csv"]
)
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        path_of(name)


def test_filters_are_kept_by_name(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "filters.json"
    assert load_filters(file) == {}
    store_filters({"mine": "status:failed", "[/x]": ""}, file)
    assert load_filters(file) == {"mine": "status:failed", "[/x]": ""}
    assert [path.name for path in file.parent.iterdir()] == ["filters.json"]
    for broken in ("{", "[]", '{"a": 1}', "[" * 100_000, "\xff"):
        file.write_text(broken, encoding="latin-1")
        with pytest.raises(SettingsError):
            load_filters(file)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".svg"])
@pytest.mark.parametrize("rows", [5, 3_000])  # what is kept to the end, and what is written before it
def test_on_a_full_disk_nothing_is_left_of_the_file(tmp_path: Path, suffix: str, rows: int) -> None:
    path = tmp_path / f"rows{suffix}"
    with full_disk(), pytest.raises(EmbedqError):
        write(path, rows)
    assert list(tmp_path.iterdir()) == []


def test_on_a_full_disk_the_filters_of_before_stay(tmp_path: Path) -> None:
    path = tmp_path / "filters.json"
    store_filters({"a": "b"}, path)
    with full_disk(), pytest.raises(SettingsError):
        store_filters({"name": "status:failed"}, path)
    assert load_filters(path) == {"a": "b"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_came_meanwhile_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("another's", "utf-8")
    with pytest.raises(EmbedqError), export_to(path) as out:
        out.add(ROWS)
    with pytest.raises(EmbedqError):
        save(path, "picture")
    assert path.read_text("utf-8") == "another's"


def write(path: Path, rows: int) -> None:
    """A picture, or a table."""
    if path.suffix == ".svg":
        save(path, "x" * rows * 50)
        return
    with export_to(path) as out:
        out.add(ROWS[:1] * rows)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may be longer than some bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
