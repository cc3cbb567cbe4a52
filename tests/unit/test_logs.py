"""Lines of the worker's log."""

from __future__ import annotations

import io

import pytest

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
