"""Style sheets: read once, and what a change of theme does to them reaches every screen."""

from __future__ import annotations

from unittest.mock import patch

from textual.color import Color
from textual.css.stylesheet import Stylesheet

from embedq_tui.console.app import Console
from embedq_tui.console.theme import DARK, LIGHT
from embedq_tui.screens import ENTRIES
from tests.console.canned import CannedConsole
from tests.console.canned_world import busy
from tests.console.running import ConsolePilot, until_shown

KEYS = {entry.name: entry.key for entry in ENTRIES}


async def test_no_screen_has_them_all_read_again_when_it_is_shown_first() -> None:
    with patch.object(Stylesheet, "reparse", autospec=True) as reparse:
        async with CannedConsole(busy()).run_test() as pilot:
            for entry in ENTRIES:
                await _show(pilot, entry.name)
    reparse.assert_not_called()


async def test_a_theme_reaches_screens_that_were_shown_before_and_those_that_were_not() -> None:
    app: Console = CannedConsole(busy())
    async with app.run_test() as pilot:
        for theme, names in ((DARK, ("overview", "tasks")), (LIGHT, ("overview", "tasks", "failures"))):
            app.theme = theme.name
            for name in names:
                await _show(pilot, name)
                assert _background(app) == Color.parse(theme.background or ""), name


async def _show(pilot: ConsolePilot, name: str) -> None:
    app = pilot.app
    await pilot.press(KEYS[name])
    await until_shown(pilot, lambda _: app.current_mode == name)
    await pilot.pause()


def _background(app: Console) -> Color:
    return app.screen.styles.background
