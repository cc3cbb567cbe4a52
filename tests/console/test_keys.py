"""Keys: each has a name and a line in the documentation; no screen takes one that works everywhere."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from textual.command import CommandPalette

from embedq_tui.console.app import Console
from embedq_tui.console.keys import MODAL, all_keys, keymap_of, markdown
from embedq_tui.desk import Options
from embedq_tui.dialogs.confirm import Confirm
from embedq_tui.profiles import Profile, load_profiles
from embedq_tui.rendering.keys import DEFAULTS
from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.screens.filter_line import FilterLine
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_worker.errors import SettingsError
from tests.console.canned import CannedConsole
from tests.console.canned_world import busy
from tests.console.running import OPERATOR, console, enter, shown, until_shown, until_text
from tests.support.content import add_articles, queue_tasks
from tests.support.databases import Connection, Database
from tests.support.waiting import until

DOCUMENT = Path(__file__).parents[2] / "docs" / "console.md"

EVERYWHERE = {"Everywhere", "Every screen"}
ON_PURPOSE = {"detail.back", "article.back", "audit.undo", "text.next_match"}
"""Keys that mean something else at a place: details lead back to their list; the row says what is undone;
what was sought is found again, as in every pager."""


def test_every_key_is_documented() -> None:
    assert DOCUMENT.read_text(encoding="utf-8").partition("<!-- keys -->\n")[2] == markdown()


def test_names_are_unique_and_keys_do_not_clash() -> None:
    meanings = {(key.id, key.keys, key.words) for key in all_keys()}
    assert len(meanings) == len({name for name, *_ in meanings})
    taken: dict[str, set[str]] = defaultdict(set)
    for key in all_keys():
        for pressed in key.keys.split():
            clash = taken["Everywhere"] | taken["Every screen"]
            if key.place not in EVERYWHERE | MODAL:
                assert pressed not in clash or key.id in ON_PURPOSE, key
            assert pressed not in taken[key.place], key
            taken[key.place].add(pressed)


async def test_each_key_of_an_action_is_shown_as_itself() -> None:
    async with CannedConsole(busy()).run_test() as pilot:
        for screen in "123456789":
            await pilot.press(screen)
            bound = [active.binding for active in pilot.app.screen.active_bindings.values()]
            assert len({pilot.app.get_key_display(binding) for binding in bound}) == len(bound)


@pytest.mark.parametrize("screen", ["7", "9"])
async def test_help_names_the_keys_of_the_screen_that_its_table_passes_on(screen: str) -> None:
    async with CannedConsole(busy()).run_test() as pilot:
        await pilot.press(screen)
        await until(lambda: isinstance(pilot.app.focused, KeyedTable))
        bound = pilot.app.screen.active_bindings
        assert {bound[key].node for key in ("left", "h", "right", "l")} == {pilot.app.screen}


def test_an_operator_can_have_keys_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "profiles.toml"
    file.write_text('[keys]\n"app.quit" = "ctrl+x"\n')
    keys = load_profiles(file).keys
    assert keymap_of(keys) == keys == {"app.quit": "ctrl+x"}
    with pytest.raises(SettingsError):
        keymap_of({"no.such": "x"})
    file.write_text("[keys]\nquit = 3\n")
    with pytest.raises(SettingsError):
        load_profiles(file)


@pytest.mark.parametrize(
    ("wanted", "pressed"),
    [("ctrl+t", "ctrl+t"), ("Ctrl+T", "ctrl+t"), ("F6, =", "f6"), ("F6, =", "="), ("W", "W"), ("*", "*")],
)
async def test_a_key_of_ones_own_does_what_it_is_for(database: Database, wanted: str, pressed: str) -> None:
    keymap = keymap_of({"show.tasks": wanted})
    app = Console(database.settings, Profile(), Options(OPERATOR, keymap=keymap))
    async with app.run_test(notifications=True) as pilot:
        await pilot.press(pressed)
        assert app.current_mode == "tasks"


@pytest.mark.parametrize("wanted", ["", ",", "x,", "ctrl-t", "crtl+t", "f99", "two keys"])
def test_a_key_that_nobody_can_press_is_refused(wanted: str) -> None:
    with pytest.raises(SettingsError):
        keymap_of({"show.tasks": wanted})


@pytest.mark.parametrize(
    ("name", "taken", "holder"),
    [
        ("show.tasks", "x", "tasks.cancel"),  # on some screens only
        ("tasks.cancel", "q", "app.quit"),
        ("tasks.cancel", "f7, j", "table.down"),
        ("tasks.cancel", "/", "tasks.filter"),
        ("confirm.no", "y", "confirm.yes"),
        ("confirm.yes", "escape", "dialog.back"),
        ("dialog.down", "q", "outcome.close"),
        ("dialog.back", "ctrl+z", "app.suspend"),  # which comes first everywhere
    ],
)
def test_a_key_that_has_another_action_at_the_same_place_is_refused(
    name: str, taken: str, holder: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        keymap_of({name: taken})
    assert name in caught.value.message
    assert holder in caught.value.message


def test_keys_may_be_swapped_and_be_the_same_at_different_places() -> None:
    keymap_of({"tasks.cancel": "r", "tasks.retry": "x", "failures.retry": "w", "audit.older": "j, h"})
    keymap_of({"table.top": "f2, g", "app.probe": "n", "app.troubles": "f3, !"})
    keymap_of({"search.query": "f2", "search.back": "escape, f3"})
    keymap_of({"confirm.yes": "q", "choose.down": "1", "help.close": "y", "filter.leave": "f2"})


def test_texts_name_the_keys_that_are_bound() -> None:
    bound = {key.id: key.keys for key in all_keys()}
    assert {name: bound[name].split()[0] for name in DEFAULTS} == DEFAULTS


async def test_texts_name_a_key_of_ones_own(database: Database, connection: Connection) -> None:
    await connection.execute("SELECT embedq_command('stop', 'ann@ops')")
    await queue_tasks(connection, await add_articles(connection, ["one"]))
    keymap = {"show.workers": "f5", "workers.stop_all": "f7,f9", "app.troubles": "f2", "tasks.filter": "f3"}
    keymap |= {"app.undo": "f8", "settings.check": "f6", "articles.take_back": "f9"}
    app = Console(database.settings, Profile(), Options(OPERATOR, keymap=keymap))
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await until_text(pilot, "Workers (f5), f7")
        assert "f5 Workers" in shown(pilot)
        await pilot.press("f2")
        await until_text(pilot, "Measured")
        await pilot.press("escape", "2")
        await until_text(pilot, "f3 filter  tab status")
        await until_text(pilot, "pending")
        await pilot.press("x")
        await until_shown(pilot, lambda _: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until_text(pilot, "f8: undo")
        await pilot.press("9", "tab")
        await until_text(pilot, "Press f6 to test")
        await pilot.press("8", "b")
        await until_text(pilot, "Priority of")
        await pilot.press("enter")
        await until_shown(pilot, lambda _: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until_text(pilot, "f9: roll back")
    async with console(database.settings, (120, 40)) as pilot:
        await until_text(pilot, "Workers (5), S")


async def test_dialogs_obey_and_name_keys_of_ones_own(database: Database, connection: Connection) -> None:
    await queue_tasks(connection, await add_articles(connection, ["one"]))
    keymap = {"confirm.yes": "f5", "dialog.back": "f6", "choose.down": "f7", "help.close": "f8"}
    keymap |= {"troubles.close": "f9", "filter.leave": "f10"}
    app = Console(database.settings, Profile(), Options(OPERATOR, keymap=keymap_of(keymap)))
    async with app.run_test(notifications=True) as pilot:
        for opens, closes in (("question_mark", "f8"), ("exclamation_mark", "f9")):
            await pilot.press(opens)
            await until_shown(pilot, lambda screen, closes=closes: f" {closes} " in screen)  # type: ignore[misc]
            await pilot.press("escape", closes)
            await until(lambda: isinstance(app.screen, ConsoleScreen))
        await pilot.press("2", "slash")
        await until(lambda: isinstance(app.focused, FilterLine))
        await pilot.press("f10")
        await until(lambda: not isinstance(app.focused, FilterLine))
        await until_text(pilot, "pending     normal")
        await pilot.press("p")
        await until_text(pilot, "Back (f6)")
        await pilot.press("f7", "enter")
        await until_text(pilot, "pending     low")
        await pilot.press("x")
        await until_shown(pilot, lambda _: isinstance(app.screen, Confirm))
        await until_text(pilot, "(f5)")
        await pilot.press("y", "escape", "f6")
        await until(lambda: isinstance(app.screen, ConsoleScreen))
        await pilot.press("x")
        await until_shown(pilot, lambda _: isinstance(app.screen, Confirm))
        await pilot.press("f5")
        await until_text(pilot, "1 task cancelled")


async def test_a_picture_of_what_is_shown_is_saved_to_the_file_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "queue.svg"
    async with CannedConsole(busy()).run_test(notifications=True) as pilot:
        await until_shown(pilot, lambda screen: "pending" in screen)
        for again in (False, True):
            await pilot.press("ctrl+p", *"screenshot")
            await until_text(pilot, "Save the screen")
            await pilot.press("enter")
            await until_text(pilot, "Save screenshot to")
            await enter(pilot, str(path))
            await until_text(pilot, "already exists" if again else "Saved to")
        picture = path.read_text(encoding="utf-8")
        assert "pending" in picture
        assert "Save screenshot to" not in picture


async def test_the_palette_opens_by_either_key_and_also_while_typing() -> None:
    async with CannedConsole(busy()).run_test() as pilot:
        await pilot.press("2")
        await until_shown(pilot, lambda _: pilot.app.current_mode == "tasks")
        for keys in (["colon"], ["ctrl+p"], ["slash", "ctrl+p"]):
            await pilot.press(*keys)
            await until(lambda: isinstance(pilot.app.screen, CommandPalette))
            await pilot.press("escape")
            await until(lambda: not isinstance(pilot.app.screen, CommandPalette))


async def test_the_mouse_selects_no_text_where_none_could_be_copied() -> None:
    """Else ctrl+c, instead of quitting, would copy the name of a widget."""
    async with CannedConsole(busy()).run_test() as pilot:
        for key in "1267":
            await pilot.press(key)
            for y in (3, 6, 12):
                await pilot.mouse_down(offset=(5, y))
                await pilot.hover(offset=(30, y + 2))
                await pilot.mouse_up(offset=(30, y + 2))
                assert "#" not in (pilot.app.screen.get_selected_text() or ""), (key, y)


async def test_keys_have_names_where_their_signs_cannot_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "vt220")
    async with CannedConsole(busy()).run_test() as pilot:
        for screen in "123456789":
            await pilot.press(screen)
            for active in pilot.app.screen.active_bindings.values():
                assert pilot.app.get_key_display(active.binding).isascii(), active.binding
