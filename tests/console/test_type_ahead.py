"""What is typed faster than screens open gets where it was meant to go, and answers no question unseen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from textual.events import Event, Key, Paste
from textual.keys import _character_to_key
from textual.widgets import Input

from embedq_tui.console import type_ahead
from embedq_tui.dialogs.confirm import Confirm, Confirmation, Decision
from embedq_tui.dialogs.dialog import Dialog
from embedq_tui.screens.articles.detail import ArticleDetailScreen
from embedq_tui.screens.articles.screen import ArticlesScreen
from embedq_tui.screens.help import HelpScreen
from embedq_tui.screens.tasks.detail import TaskDetailScreen
from tests.console.running import ConsolePilot, console, shown, until_asked, until_text
from tests.console.task_list import add_tasks, keys, opened
from tests.support.content import queued_articles, statuses
from tests.support.databases import Connection, Database
from tests.support.waiting import until


@pytest.fixture
async def pilot(database: Database) -> AsyncIterator[ConsolePilot]:
    async with console(database.settings, (120, 40)) as opened:
        yield opened


def strike(pilot: ConsolePilot, *typed: str | Event) -> None:
    """Press keys as fast as can be: the pilot waits after each, which hides what this is about."""
    for one in typed:
        event = one if isinstance(one, Event) else _key(one)
        event.set_sender(pilot.app)
        pilot.app.post_message(event)


def _key(name: str) -> Key:
    named = len(name) > 1 or name.isalnum()
    return Key(name if named else _character_to_key(name), name if len(name) == 1 else None)


def written(pilot: ConsolePilot) -> list[str]:
    return [line.value for line in pilot.app.screen.query(Input) if line.display]


async def test_a_screen_that_opens_gets_what_is_typed_meanwhile(pilot: ConsolePilot) -> None:
    strike(pilot, "8", "i")
    await until_text(pilot, "Import which file")
    strike(pilot, "escape", "2", "/", *"slug")
    await until(lambda: written(pilot) == ["slug"])
    strike(pilot, "escape", "4", "?")
    await until(lambda: isinstance(pilot.app.screen, HelpScreen))
    strike(pilot, "escape", "5", "3", "6")
    await until(lambda: pilot.app.current_mode == "audit")


async def test_what_is_about_all_that_match_does_not_wait_for_their_rows(
    pilot: ConsolePilot, connection: Connection
) -> None:
    await queued_articles(connection, 3)
    strike(pilot, "2", "X")
    await until_asked(pilot)
    await until_text(pilot, "Cancel 3")


async def test_what_moves_in_a_list_waits_for_its_rows(
    pilot: ConsolePilot, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type_ahead, "ROWS_S", 30.0)  # however busy this machine is
    await queued_articles(connection, 3)
    strike(pilot, "2", "j", "enter")
    await until(lambda: isinstance(pilot.app.screen, TaskDetailScreen))
    await until_text(pilot, "article-1")
    strike(pilot, "8", "space", "enter")
    await until(lambda: isinstance(pilot.app.screen, ArticleDetailScreen))


async def test_what_is_typed_behind_a_filter_is_about_its_rows(
    pilot: ConsolePilot, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type_ahead, "ROWS_S", 30.0)
    failed = await add_tasks(connection, 2)
    await add_tasks(connection, 3, status="pending", ago_s=0)
    table = await opened(pilot)
    await until(lambda: len(table.keys) == 5)
    strike(pilot, "/", *"status:failed", "enter", "space", "space")
    await until(lambda: len(table.marked) == 2)
    assert table.marked == set(keys(failed))


@pytest.fixture
def bells(pilot: ConsolePilot, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One for each time that the bell rang."""
    rung: list[bool] = []
    monkeypatch.setattr(pilot.app, "bell", lambda: rung.append(True))
    return rung


async def test_what_is_typed_behind_a_key_for_rows_that_do_not_come_is_ignored_with_it(
    pilot: ConsolePilot, connection: Connection, bells: list[bool]
) -> None:
    await add_tasks(connection, 2)
    table = await opened(pilot)
    await until(lambda: len(table.keys) == 2)
    async with connection.transaction():
        await connection.execute("LOCK TABLE embedding_tasks IN ACCESS EXCLUSIVE MODE")
        strike(pilot, "/", *"status:failed", "enter", "space", "?")
        await until(lambda: bool(bells))
        strike(pilot, "6")
        await until(lambda: pilot.app.current_mode == "audit")
    assert not table.marked


@pytest.mark.parametrize("keys", ["2x", "8r", "4x"], ids=" ".join)
async def test_rows_that_are_not_there_yet_are_not_changed_and_hold_up_nothing(
    pilot: ConsolePilot, connection: Connection, bells: list[bool], keys: str
) -> None:
    await queued_articles(connection, 3)
    async with connection.transaction():
        await connection.execute("LOCK TABLE embedding_tasks, embedq_failure_counts IN ACCESS EXCLUSIVE MODE")
        strike(pilot, *keys, "j")
        await until_text(pilot, "Press the key again")
        await until(lambda: bool(bells))
        strike(pilot, "5")
        await until(lambda: pilot.app.current_mode == "workers")
    assert not isinstance(pilot.app.screen, Dialog)


async def test_a_line_that_opens_gets_all_that_is_typed_and_pasted(pilot: ConsolePilot) -> None:
    strike(pilot, "8", "i", *"/one", Paste("/two"), *"/3")
    await until(lambda: written(pilot) == ["/one/two/3"])


async def test_what_is_typed_behind_the_end_of_a_dialog_is_for_the_screen_below(pilot: ConsolePilot) -> None:
    strike(pilot, "8", "i", *"text", "escape", "s", *"words")
    await until(lambda: written(pilot) == ["words"])
    strike(pilot, "escape", "escape", "i", "escape", "i", "escape", "1")
    await until(lambda: pilot.app.current_mode == "overview")
    assert not isinstance(pilot.app.screen, Dialog)


async def test_what_is_typed_before_a_question_is_on_the_screen_does_not_answer_it_with_yes(
    pilot: ConsolePilot,
) -> None:
    answers: list[Decision | None] = []
    confirmation = Confirmation("Delete everything?", ["Really."], "Delete", staged=True, danger=True)
    pilot.app.push_screen(Confirm(confirmation), answers.append)
    strike(pilot, "y", "s", "right", "enter", "l", "enter")
    await until_asked(pilot)
    await pilot.pause()
    assert answers == []
    await pilot.press("y")
    await until(lambda: answers == [Decision.YES])
    pilot.app.push_screen(Confirm(confirmation), answers.append)
    strike(pilot, "y", "escape", "8")  # leaving it needs no reading
    await until(lambda: isinstance(pilot.app.screen, ArticlesScreen))
    assert answers == [Decision.YES, Decision.NO]


async def test_a_word_that_was_typed_before_it_was_asked_for_is_not_taken(pilot: ConsolePilot) -> None:
    answers: list[Decision | None] = []
    pilot.app.push_screen(Confirm(Confirmation("Delete 12 tasks?", [], "Delete", word="12")), answers.append)
    strike(pilot, *"12", Paste("12"), "enter")
    await until_asked(pilot)
    await pilot.pause()
    assert (answers, written(pilot)) == ([], [""])
    await pilot.press(*"12", "enter")
    await until(lambda: answers == [Decision.YES])


@pytest.mark.parametrize("held_s", [0.1, 1.0], ids=["a moment", "with a dialog of its progress"])
async def test_what_is_typed_while_tasks_are_counted_waits_for_the_question(
    pilot: ConsolePilot, connection: Connection, held_s: float
) -> None:
    await queued_articles(connection, 3)
    await pilot.press("2")
    await until_text(pilot, "article-2")
    async with connection.transaction():
        await connection.execute("LOCK TABLE embedding_tasks IN ACCESS EXCLUSIVE MODE")
        strike(pilot, "X", "j", "8", "f", "y", "3", "enter")
        await asyncio.sleep(held_s)
        assert pilot.app.current_mode == "tasks"
    await until_asked(pilot)
    assert written(pilot) == [""]
    await pilot.press("escape")
    await until_text(pilot, "article-2")
    assert pilot.app.current_mode == "tasks"
    assert "frozen" not in shown(pilot)
    assert await statuses(connection) == {"pending": 3}
