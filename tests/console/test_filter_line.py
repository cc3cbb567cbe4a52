"""The line in which a filter is written."""

from __future__ import annotations

from uuid import uuid4

from textual.events import Paste
from textual.widgets import Input

from tests.console.canned import CannedConsole
from tests.console.canned_world import busy
from tests.console.running import console, takes_keys
from tests.support.databases import Database
from tests.support.waiting import until


async def test_an_id_that_is_pasted_is_the_filter_or_what_its_last_term_lacks(database: Database) -> None:
    pasted = str(uuid4())
    async with console(database.settings) as pilot:
        await pilot.press("2")
        await until(lambda: bool(pilot.app.screen.query("#filter")) and takes_keys(pilot))
        line = pilot.app.screen.query_one("#filter", Input)
        for typed, expected in (("worker:", f"worker:{pasted}"), ("slug:a ", pasted), ("", pasted)):
            await pilot.press("slash", "ctrl+u", *typed)
            pilot.app.post_message(Paste(pasted))
            await until(lambda: line.value.endswith(pasted))
            assert line.value == expected
            await pilot.press("escape")


async def test_what_is_typed_is_no_command_of_the_screen() -> None:
    async with CannedConsole(busy()).run_test() as pilot:
        for screen in ("2", "6", "8"):
            await pilot.press(screen)
            await until(lambda: bool(pilot.app.screen.query("#filter")) and takes_keys(pilot))
            line = pilot.app.screen.query_one("#filter", Input)
            await pilot.press("slash", "ctrl+u", *"/rxeoR", "shift+tab", "tab")
            assert (line.value, line.has_focus, len(pilot.app.screen_stack)) == ("/rxeoR", True, 1)
            await pilot.press("escape")
