"""How the console looks: pictures of it on answers made by hand, compared cell by cell and colour by colour.

After a change that is meant: pytest tests/console/test_looks.py --snapshot-update, and look at the pictures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, cast

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from embedq_tui.console.app import Console
from embedq_tui.live.feed import Lost
from embedq_tui.live.questions import Answer
from embedq_tui.live.store import Look
from embedq_tui.profiles import Profile
from embedq_worker.errors import Unreachable
from tests.console.canned import CLOCK, CannedConsole, stillness
from tests.console.canned_world import World, busy, empty
from tests.console.running import shown, until_shown

SMALL, BIG = (80, 24), (120, 40)

TITLE = " embedq "
"""It is seen whatever else is, also behind a dialog; in none of them."""

ConsolePilot = Pilot[Any]


class Compare(Protocol):
    """What pytest-textual-snapshot brings."""

    def __call__(
        self,
        app: Console,
        *,
        terminal_size: tuple[int, int],
        run_before: Callable[[ConsolePilot], Awaitable[None]],
    ) -> bool: ...


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with stillness(monkeypatch):
        yield


@dataclass(frozen=True)
class Sight:
    """Something to be seen.

    Attributes:
        text: On the screen when all of it is there.
        keys: That lead there.
        world: What there is to see.
        supervised: A worker of this console runs.
        profile: How the database is named.
    """

    text: str
    keys: tuple[str, ...] = ()
    world: Callable[[], World] = busy
    supervised: bool = False
    profile: Profile = field(default_factory=Profile)


PRODUCTION = Profile(name="main", environment="production")

MAIN = {
    "overview": Sight("Task failed"),
    "tasks": Sight("newest first", ("2",)),
    "stuck": Sight("gamma/913", ("3",)),
    "failures": Sight("of 3 attempts", ("4",)),
    "metrics": Sight("by minute", ("7",)),
    "articles": Sight("45,871", ("8",)),
    "task": Sight("Task claimed", ("2", "enter")),
}
ALL = MAIN | {
    "workers": Sight("asked for patience", ("5",), supervised=True),
    "audit": Sight("following", ("6",)),
    "settings": Sight("Migrations 12", ("9",)),
    "help": Sight("Retry all", ("2", "?")),
    "troubles": Sight("Measured", ("!",)),
    "retry": Sight("In stages", ("4", "r"), profile=PRODUCTION),
    "cancel": Sight("1293, then", ("2", "X"), profile=PRODUCTION),
    "marked": Sight("2 tasks marked", ("2", "space", "space")),
    "empty-overview": Sight("none registered", world=empty),
    "empty-tasks": Sight("no tasks", ("2",), world=empty),
    "empty-metrics": Sight("No task ended", ("7",), world=empty),
}


def console(sight: Sight) -> CannedConsole:
    return CannedConsole(sight.world(), profile=sight.profile, supervised=sight.supervised)


async def rest(pilot: ConsolePilot, text: str = "") -> None:
    """Wait until everything is shown and nothing moves; nothing blinks afterwards."""
    await until_shown(pilot, lambda screen: TITLE in screen and text in screen)
    for line in pilot.app.screen.query(Input):
        line.cursor_blink = False
    before = ""
    while (now := shown(pilot)) != before:
        before = now
        await pilot.pause(0.02)


async def show(pilot: ConsolePilot, sight: Sight) -> None:
    """Press the keys, and wait for what they lead to."""
    for key in sight.keys:
        await rest(pilot)
        await pilot.press(key)
    await rest(pilot, sight.text)


@pytest.mark.parametrize("name", ALL)
def test_small(name: str, snap_compare: Compare) -> None:
    sight = ALL[name]
    assert snap_compare(console(sight), terminal_size=SMALL, run_before=lambda pilot: show(pilot, sight))


@pytest.mark.parametrize("name", MAIN)
def test_big(name: str, snap_compare: Compare) -> None:
    sight = MAIN[name]
    assert snap_compare(console(sight), terminal_size=BIG, run_before=lambda pilot: show(pilot, sight))


def test_lost_connection(snap_compare: Compare) -> None:
    async def lose(pilot: ConsolePilot) -> None:
        await rest(pilot, "Task failed")
        CLOCK.at += 42
        error = Unreachable("db.example:5432/articles cannot be reached: connection refused")
        cast(Console, pilot.app).desk.session.store.was_lost(Lost(error, CLOCK.at - 40, CLOCK.at + 12, 5))
        await rest(pilot, "no answer")

    assert snap_compare(console(MAIN["overview"]), terminal_size=SMALL, run_before=lose)


def test_frozen(snap_compare: Compare) -> None:
    async def freeze(pilot: ConsolePilot) -> None:
        await show(pilot, ALL["audit"])
        await pilot.press("f")
        CLOCK.at += 75
        store = cast(Console, pilot.app).desk.session.store
        assert store.overview is not None
        later = store.overview._replace(at=store.overview.at + timedelta(seconds=75))
        store.answered(Answer(Look(), later, at=CLOCK.at))
        await rest(pilot, "frozen, 1 min old")

    assert snap_compare(console(ALL["audit"]), terminal_size=SMALL, run_before=freeze)


def test_sixteen_colours(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", "xterm")
    sight = MAIN["failures"]
    made = console(sight)
    assert snap_compare(made, terminal_size=SMALL, run_before=lambda pilot: show(pilot, sight))
    assert made.theme == "ansi-dark"


def test_ascii(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "vt220")
    sight = MAIN["overview"]

    async def see(pilot: ConsolePilot) -> None:
        await show(pilot, sight)
        assert pilot.app.export_screenshot().isascii()

    assert snap_compare(console(sight), terminal_size=BIG, run_before=see)
