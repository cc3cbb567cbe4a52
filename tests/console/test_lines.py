"""The widget of lines: what is another is drawn, whether in its words or in its colours."""

from __future__ import annotations

import re

from rich.text import Text
from textual.app import App, ComposeResult
from textual.strip import Strip

from embedq_tui.widgets.lines import Lines


class _Shows(App[None]):
    CSS = "Lines { height: 2; }"

    def compose(self) -> ComposeResult:
        yield Lines(from_end=True)


async def test_a_line_of_other_words_and_one_of_another_colour_are_drawn() -> None:
    app = _Shows()
    async with app.run_test() as pilot:
        lines = app.query_one(Lines)
        lines.show([Text("hidden"), Text("first"), Text("second", "red")])
        await pilot.pause()
        first = app.export_screenshot()
        assert "hidden" not in first
        assert "first" in first
        assert "second" in first
        lines.show([Text("hidden"), Text("first"), Text("second", "green")])
        await pilot.pause()
        assert _colours(app.export_screenshot()) != _colours(first)
        lines.show([Text("hidden"), Text("other"), Text("second", "green")])
        await pilot.pause()
        last = app.export_screenshot()
        assert "first" not in last
        assert "other" in last
        assert "second" in last


class _Titled(Lines):
    drawn = 0

    def render_line(self, y: int) -> Strip:
        self.drawn += 1
        return super().render_line(y)


class _ShowsTitled(App[None]):
    CSS = "Lines { height: 3; border: solid red; }"

    def compose(self) -> ComposeResult:
        yield _Titled("host")


async def test_a_title_is_not_markup_and_the_same_one_draws_nothing() -> None:
    app = _ShowsTitled()
    async with app.run_test() as pilot:
        lines = app.query_one(_Titled)
        lines.entitle("[/b]/1")
        await pilot.pause()
        assert "[/b]/1" in app.export_screenshot()
        lines.drawn = 0
        lines.entitle("[/b]/1")
        await pilot.pause()
        assert lines.drawn == 0


def _colours(picture: str) -> set[str]:
    return set(re.findall(r"fill: (#\w+)", picture))
