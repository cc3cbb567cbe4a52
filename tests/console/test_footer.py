"""The line of keys, and that of tabs: they keep up with whoever is quick, and show what can be done."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest
from textual.widgets._footer import FooterKey

from embedq_tui.screens import ENTRIES
from embedq_tui.widgets.footer import Keys
from tests.console.canned import CannedConsole
from tests.console.canned_world import busy
from tests.console.running import console, shown, until_text
from tests.support.databases import Database
from tests.support.waiting import until


@pytest.mark.slow
async def test_going_through_the_screens_quickly_does_not_stop_the_drawing(database: Database) -> None:
    async with console(database.settings) as pilot:
        app = pilot.app
        for number in range(12 * len(ENTRIES)):
            app.simulate_key(ENTRIES[number % len(ENTRIES)].key)
            await asyncio.sleep(0.01)
        app.simulate_key("1")
        await until(lambda: app.current_mode == "overview" and app._batch_count == 0)
        made = sum(1 for widget in app._registry if type(widget).__name__ == "FooterKey")
        assert made < 20 * len(ENTRIES)


async def test_keys_that_were_replaced_are_not_held() -> None:
    app = CannedConsole(busy())
    async with app.run_test() as pilot:
        await pilot.press("2")
        for _ in range(10):
            await pilot.press("slash")
            await until_text(pilot, "esc Close")
            await pilot.press("escape")
            await until_text(pilot, "q Quit")
        gc.collect()
        keys = [thing for thing in gc.get_objects() if isinstance(thing, FooterKey)]
        assert any(key.is_attached for key in keys)
        assert sum(not key.is_attached for key in keys) < 20


async def test_a_line_that_is_due_while_its_screen_goes_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    late: list[Callable[[], Awaitable[None]]] = []
    going, gone = asyncio.Event(), asyncio.Event()

    async def go(_: Keys) -> None:
        going.set()
        await gone.wait()

    app = CannedConsole(busy())
    async with app.run_test() as pilot:
        await pilot.press("8")
        await until(lambda: bool(app.screen.query("#list")))
        left = app.screen
        await pilot.press("1")
        monkeypatch.setattr(Keys, "call_after_refresh", lambda _, do: late.append(do))
        monkeypatch.setattr(Keys, "on_unmount", go, raising=False)
        left.refresh_bindings()
        await until(lambda: bool(late))
        try:
            removal = app.remove_mode("articles")
            await going.wait()
            await until(lambda: not left.query("#list"))
            for do in late:
                await do()
        finally:
            gone.set()
        await removal


async def test_a_key_that_would_be_typed_is_not_offered(database: Database) -> None:
    async with console(database.settings) as pilot:
        await pilot.press("2")
        await until_text(pilot, "q Quit")
        await pilot.press("slash")
        await until_text(pilot, "esc Close")
        assert "q Quit" not in shown(pilot)


@pytest.mark.parametrize(("width", "clicked"), [(80, "4Failures"), (80, "Failures"), (200, "4 Failures")])
async def test_a_click_on_a_tab_shows_its_screen(width: int, clicked: str) -> None:
    app = CannedConsole(busy())
    async with app.run_test(size=(width, 24)) as pilot:
        await until_text(pilot, clicked)
        place = shown(pilot).splitlines()[1].index(clicked)
        await pilot.click("#tabs", offset=(place, 0))
        await until(lambda: app.current_mode == "failures")
