"""A line that is asked for: what is typed faster than the machine answers is not lost."""

from __future__ import annotations

import asyncio

from textual.app import App
from textual.suggester import Suggester

from embedq_tui.dialogs.choose import ask_text
from tests.support.waiting import until


class _Late(Suggester):
    """Knows one word, but not at once."""

    def __init__(self) -> None:
        super().__init__(use_cache=False)
        self.allowed = asyncio.Event()
        self.asked = 0

    async def get_suggestion(self, value: str) -> str | None:
        self.asked += value == "do"
        await self.allowed.wait()
        return "docs/" if value == "do" else None


async def test_tab_completes_although_the_suggestion_has_yet_to_come() -> None:
    app, late = App[None](), _Late()
    async with app.run_test() as pilot:
        work = app.run_worker(ask_text(app, "Which?", suggester=late))
        await until(lambda: app.focused is not None)
        typing = asyncio.create_task(pilot.press("d", "o", "tab", "x", "enter"))
        await until(lambda: late.asked > 1)
        late.allowed.set()
        await typing
        assert await work.wait() == "docs/x"


async def test_after_a_complaint_the_line_can_be_typed_in_again() -> None:
    app = App[None]()
    async with app.run_test() as pilot:
        work = app.run_worker(ask_text(app, "Which?", complaint=lambda text: "" if text == "ab" else "no"))
        await until(lambda: app.focused is not None)
        await pilot.press("a", "tab", "enter", "a", "b", "enter")
        assert await work.wait() == "ab"
