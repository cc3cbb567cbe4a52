"""Lines of the worker's log."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from embedq_worker.configuration.settings import LogFormat
from embedq_worker.service.logs import open_log


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_on_a_terminal_are_left_out_where_nobody_wants_them(
    monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    stream = _Terminal()
    open_log("text", "info", stream).info("worker started", worker="x")
    assert ("\x1b[" in stream.getvalue()) is coloured


@pytest.mark.parametrize("form", ["text", "json"])
def test_in_the_journal_each_line_has_its_priority(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: LogFormat
) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        log = open_log(form, "info", stream)
        log.info("worker started")
        log.error("a batch failed", exc_info=ValueError("of two\nlines"))
        stream.seek(0)
        first, *others = stream.read().splitlines()
    assert first.startswith("<6>")
    assert others
    assert all(line.startswith("<3>") for line in others)


def test_elsewhere_lines_have_no_priority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")  # of the service that started the process behind a pipe
    with (tmp_path / "log").open("w+") as stream:
        open_log("json", "info", stream).info("worker started")
        stream.seek(0)
        assert stream.read().startswith("{")
