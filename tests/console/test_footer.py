"""The line of keys: it keeps up with whoever is quick, and shows what can be done."""

from __future__ import annotations

import asyncio

import pytest

from embedq_tui.screens import ENTRIES
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
        await until(lambda: app.current_mode == "overview" and app._batch_count == 0, within_s=15)
        made = sum(1 for widget in app._registry if type(widget).__name__ == "FooterKey")
        assert made < 20 * len(ENTRIES)


async def test_a_key_that_would_be_typed_is_not_offered(database: Database) -> None:
    async with console(database.settings) as pilot:
        await pilot.press("2")
        await until_text(pilot, "q Quit")
        await pilot.press("slash")
        await until_text(pilot, "esc Leave")
        assert "q Quit" not in shown(pilot)
