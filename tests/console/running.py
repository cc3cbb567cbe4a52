"""The console without a terminal: keys go in, what it shows comes out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from textual._context import visible_screen_stack
from textual.events import Paste
from textual.pilot import Pilot
from textual.screen import Screen

from embedq_tui.console.app import Console
from embedq_tui.desk import Options
from embedq_tui.dialogs.confirm import Confirm
from embedq_tui.dialogs.dialog import SeenFirst
from embedq_tui.live.store import Store
from embedq_tui.profiles import Profile
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_worker.configuration.settings import Settings
from tests.support.databases import Database
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until

OPERATOR = "me@here"

ConsolePilot = Pilot[int]

S = TypeVar("S", bound=Screen[Any])


@asynccontextmanager
async def console(
    settings: Settings, size: tuple[int, int] = (80, 24), *, read_only: bool = False
) -> AsyncIterator[ConsolePilot]:
    """Open the console on a database, and wait until it has looked at it once.

    Args:
        settings: Where it is.
        size: Columns and lines.
        read_only: By the operator's word.
    """
    app = Console(settings, Profile(), Options(OPERATOR, read_only=read_only))
    async with app.run_test(size=size, notifications=True, tooltips=True) as pilot:
        store = app.desk.session.store
        await until(lambda: bool((store.overview or store.error) and store.access))
        yield pilot


def with_stub(database: Database, stub: ProviderStub) -> Settings:
    """Settings of a database with a provider that answers."""
    return database.settings.model_copy(
        update={"provider": "openai", "openai_base_url": stub.openai_url, "model_name": "stub"}
    )


def store(pilot: ConsolePilot) -> Store:
    """What the console knows of the database."""
    return cast(Console, pilot.app).desk.session.store


def shown(pilot: ConsolePilot) -> str:
    """What is on the screen, line by line."""
    # As the app does it: or what is behind a dialog is not drawn, and that is remembered.
    visible_screen_stack.set(pilot.app._background_screens)
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)


def notices(pilot: ConsolePilot, *, severity: str = "") -> list[str]:
    """What was told in passing and still stands; of one severity or of any."""
    return [note.message for note in pilot.app._notifications if severity in ("", note.severity)]


def takes_keys(pilot: ConsolePilot) -> bool:
    """Whether keys reach what is shown: a question has to be on the screen before it is answered."""
    screen = pilot.app.screen
    if isinstance(screen, SeenFirst):
        return screen.seen_at is not None
    return screen.focused is not None or not screen.is_modal


async def go_to(pilot: ConsolePilot, key: str, kind: type[S], *, rows: int | None = None) -> S:
    """A screen, as soon as its key has led to it.

    Args:
        pilot: Of the console.
        key: Of the screen.
        kind: Of the screen.
        rows: Of its list, to wait for.
    """
    await pilot.press(key)
    await until(lambda: isinstance(pilot.app.screen, kind) and pilot.app.screen.is_mounted)
    screen = cast(S, pilot.app.screen)
    if rows is not None:
        await until(lambda: len(screen.query_one(KeyedTable).keys) == rows, within_s=20.0)
    return screen


async def enter(pilot: ConsolePilot, text: str) -> None:
    """Write a text into the field that is focused, instead of what it holds, and confirm it.

    It is pasted: after each key the pilot would wait for the screen.
    """
    await pilot.press("ctrl+u")
    pilot.app.post_message(Paste(text))
    await pilot.press("enter")


async def type_filter(pilot: ConsolePilot, text: str) -> None:
    """Replace the filter of a list."""
    await pilot.press("slash")
    await enter(pilot, text)


async def until_asked(pilot: ConsolePilot) -> None:
    """Wait until a question is on the screen: what is typed earlier does not answer it."""
    await until(lambda: isinstance(pilot.app.screen, Confirm) and takes_keys(pilot))


async def until_text(pilot: ConsolePilot, text: str, *, within_s: float = 15.0) -> None:
    """Wait until a text is on the screen.

    Args:
        pilot: Of the console.
        text: On one line.
        within_s: Seconds to give it.
    """
    await until_shown(pilot, lambda screen: text in screen, within_s=within_s)


async def until_shown(
    pilot: ConsolePilot, condition: Callable[[str], bool], *, within_s: float = 15.0
) -> None:
    """Wait until what is on the screen fulfils a condition, and takes keys; a timeout shows the screen.

    Args:
        pilot: Of the console.
        condition: Gets the text of the screen.
        within_s: Seconds to give it.
    """
    try:
        await until(lambda: condition(shown(pilot)) and takes_keys(pilot), within_s=within_s)
    except TimeoutError:
        raise AssertionError(f"not within {within_s} s:\n{shown(pilot)}") from None
