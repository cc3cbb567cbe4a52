"""Ages on the screen move on by themselves, and only what reads differently is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from rich.text import Text
from textual.app import App, ComposeResult
from textual.strip import Strip

from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.rows import Aged, Column, Row
from embedq_worker.text import age
from tests.console.canned import CLOCK, CannedConsole, stillness
from tests.console.canned_world import busy
from tests.console.running import until_shown, until_text
from tests.support.waiting import until

NOW = datetime(2026, 5, 20, 9, 41, tzinfo=UTC)

ROWS = 100
YOUNG, OLD = 3, 5
"""Rows whose ages are told in seconds and change all the time, and in hours; the others are days old."""


class _Table(KeyedTable):
    """Notes which lines are drawn."""

    def __init__(self) -> None:
        super().__init__([Column("name", "Name", 8), Column("age", "Age", 12)])
        self.drawn: set[int] = set()

    def render_line(self, y: int) -> Strip:
        self.drawn.add(y)
        return super().render_line(y)


class _Shows(App[int]):
    def compose(self) -> ComposeResult:
        yield _Table()


def _rows() -> Iterator[Row]:
    ages = {YOUNG: timedelta(seconds=10), OLD: timedelta(hours=3, minutes=7)}
    for at in range(ROWS):
        yield Row(
            str(at), (Text(f"row {at}"), Aged(NOW - ages.get(at, timedelta(days=9, minutes=at % 7)), age))
        )


async def test_a_second_draws_only_the_lines_that_read_differently() -> None:
    app = _Shows()
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(_Table)
        table.show(_rows(), now=NOW)
        await until_shown(pilot, lambda text: "10 s" in text and "3 h 7 min" in text)
        table.drawn.clear()
        for second in range(1, 6):
            table.tick(NOW + timedelta(seconds=second))
            await until_text(pilot, f"{10 + second} s")
        assert table.drawn == {YOUNG + 1}  # below the heading
        table.drawn.clear()
        table.tick(NOW + timedelta(minutes=1))
        await until_shown(pilot, lambda text: "1 min" in text and "3 h 8 min" in text)
        assert table.drawn == {YOUNG + 1, OLD + 1}


async def test_rows_that_come_into_sight_are_as_old_as_the_others() -> None:
    app = _Shows()
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(_Table)
        table.show((Row(str(at), (Text(f"row {at}"), Aged(NOW, age))) for at in range(ROWS)), now=NOW)
        await until_text(pilot, "0 s")
        table.tick(NOW + timedelta(seconds=4))
        await pilot.press("G")
        await until_shown(pilot, lambda text: "row 99" in text and "4 s" in text)


async def test_the_same_rows_again_draw_nothing() -> None:
    app = _Shows()
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(_Table)
        table.show(_rows(), now=NOW)
        await until(lambda: YOUNG + 1 in table.drawn)
        await until_text(pilot, "10 s")
        table.drawn.clear()
        table.show(_rows(), now=NOW)
        table.tick(NOW + timedelta(seconds=1))
        await until_text(pilot, "11 s")
        assert table.drawn == {YOUNG + 1}


@pytest.mark.parametrize(
    ("key", "now", "an_hour_later"),
    [
        ("2", "in 41s", "1h00m"),
        ("3", "1 h 2 min", "2 h 2 min"),
        ("4", "1 d 9 h", "1 d 10 h"),
        ("5", "2 d 5 h", "2 d 6 h"),
        ("8", "3 d 9 h ago", "3 d 10 h ago"),
    ],
)
async def test_the_ages_of_every_list_move_on(
    key: str, now: str, an_hour_later: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stillness(monkeypatch):
        async with CannedConsole(busy()).run_test(size=(120, 40)) as pilot:
            await until_text(pilot, "embedq")
            await pilot.press(key)
            await until_shown(pilot, lambda text: now in text and an_hour_later not in text)
            CLOCK.at += 3_600
            await until_shown(pilot, lambda text: an_hour_later in text and now not in text)
