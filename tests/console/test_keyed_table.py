"""The table under the mouse, and when rows come above the cursor."""

from __future__ import annotations

import pytest
from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.color import Color

from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.rows import Column, Row
from tests.console.running import until_text
from tests.support.waiting import until


class _Shows(App[int]):
    CSS = "KeyedTable > .datatable--hover { background: red; }"

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str | None] = []

    def compose(self) -> ComposeResult:
        yield KeyedTable([Column("name", "Name", 8), Column("text", "Text", 0)], opens=True)

    @on(KeyedTable.RowSelected)
    def _open(self, event: KeyedTable.RowSelected) -> None:
        self.opened.append(event.row_key.value)

    def background(self, line: int) -> Color | None:
        """Of the first cell of a line of the screen."""
        colour = self.screen.get_style_at(0, line).bgcolor
        return Color.from_rich_color(colour) if colour else None


async def test_the_mouse_points_at_a_row_moves_the_cursor_there_and_opens_it() -> None:
    app = _Shows()
    async with app.run_test(size=(60, 12)) as pilot:
        table = app.query_one(KeyedTable)
        table.show(Row(f"key {at}", (Text(f"row {at}"), Text("text"))) for at in range(40))
        await until_text(pilot, "row 4")
        await pilot.hover(KeyedTable, offset=(5, 5))
        await until(lambda: app.background(5) == Color.parse("red"))
        assert app.background(4) != Color.parse("red")
        await pilot.click(KeyedTable, offset=(5, 4))
        await until(lambda: table.current == "key 3")
        assert not app.opened
        await pilot.click(KeyedTable, offset=(30, 4))  # another cell, but the same row
        await until(lambda: app.opened == ["key 3"])


@pytest.mark.parametrize(("held", "above"), [(False, (0, 11)), (True, (3, 20))])
async def test_what_comes_above_a_list_at_its_top_is_seen_unless_rows_keep_their_places(
    held: bool, above: tuple[int, int]
) -> None:
    app = _Shows()
    async with app.run_test(size=(60, 12)) as pilot:
        table = app.query_one(KeyedTable)
        old = [Row(f"key {at}", (Text(f"row {at}"), Text("text"))) for at in range(40)]
        new = [Row(f"new {at}", (Text(f"new {at}"), Text("text"))) for at in range(20)]
        table.show(old, held=held)
        await until_text(pilot, "row 4")
        for number, hidden in zip((3, 20), above, strict=True):
            await pilot.pause()
            table.show([*new[-number:], *old], held=held)
            await until_text(pilot, "row 0")
            await until(lambda hidden=hidden: table.scroll_offset.y == hidden)  # type: ignore[misc]
            assert table.current == "key 0"
