"""The list of tasks acts on exactly what it says, and on nothing where nothing may be changed."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest
from textual.widgets import Button
from textual.widgets._toast import Toast

from embedq_tui.console.app import Console
from embedq_tui.desk import Options
from embedq_tui.profiles import Profile
from embedq_tui.screens.tasks.questions import PAGE, TaskList
from embedq_tui.screens.tasks.screen import TasksScreen
from embedq_tui.widgets import keyed_table
from embedq_tui.widgets.keyed_table import SETTLE_S
from embedq_worker.schema.task_values import CANCELLED
from tests.console.running import (
    OPERATOR,
    console,
    notices,
    shown,
    store,
    type_filter,
    until_asked,
    until_shown,
    until_text,
)
from tests.console.task_list import add_tasks, at, keys, opened, statuses
from tests.support.databases import Connection, Database
from tests.support.waiting import until


async def test_the_marked_are_acted_on_and_what_succeeded_is_unmarked(
    database: Database, connection: Connection
) -> None:
    ids = await add_tasks(connection, 5)
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await until(lambda: len(table.keys) == 5)
        await pilot.press("space", "space", "space")
        await until_text(pilot, "3 tasks marked")
        await connection.execute("UPDATE embedding_tasks SET status = 'completed' WHERE id = $1", ids[1])
        seen = store(pilot)
        await until(lambda: seen.overview is not None and seen.overview.queue.counts.completed == 1)
        assert "frozen" in shown(pilot)
        assert "completed   normal" not in shown(pilot)
        await pilot.press("r")
        await until_asked(pilot)
        await until_text(pilot, "Retry 2 marked tasks")
        await pilot.press("y")
        await until_text(pilot, "2 tasks retried")
        assert await statuses(connection, ids[:4]) == ["pending", "completed", "pending", "failed"]
        await pilot.press("escape")
        await until_text(pilot, "1 task marked")
        assert table.marked == {str(ids[1])}
        await until_shown(pilot, lambda screen: "pending     normal  s-1" in screen)
        await pilot.press("escape")
        await until_shown(pilot, lambda screen: "frozen" not in screen)


async def test_marked_tasks_that_another_operator_was_faster_with_lose_their_marks_with_their_rows(
    database: Database, connection: Connection
) -> None:
    ids = await add_tasks(connection, 4)
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await type_filter(pilot, "status:failed")
        await until(lambda: len(table.keys) == 4)
        await pilot.press("space", "space", "space")
        await until_text(pilot, "3 tasks marked")
        await connection.execute("UPDATE embedding_tasks SET status = 'completed' WHERE id = $1", ids[1])
        await pilot.press("r")
        await until_asked(pilot)
        await pilot.press("y")
        await until_text(pilot, "2 tasks retried")
        await pilot.press("escape")
        await until(lambda: table.keys == keys([ids[3]]) and not table.marked)
        await until_shown(pilot, lambda screen: "frozen" not in screen and "marked" not in screen)


async def test_marks_are_cleared_where_another_operator_has_left_nothing_to_do(
    database: Database, connection: Connection
) -> None:
    await add_tasks(connection, 3)
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await type_filter(pilot, "status:failed")
        await until(lambda: len(table.keys) == 3)
        await pilot.press("a")
        await until_text(pilot, "3 tasks marked")
        await connection.execute("UPDATE embedding_tasks SET status = 'completed'")
        await pilot.press("r")
        await until_text(pilot, "Nothing was retried")
        await pilot.press("escape")
        await until(lambda: not table.keys and not table.marked)
        await until_shown(pilot, lambda screen: "frozen" not in screen and "marked" not in screen)


async def test_marking_after_an_action_freezes_the_list(database: Database, connection: Connection) -> None:
    ids = await add_tasks(connection, 4)
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await type_filter(pilot, "status:failed")
        await until(lambda: len(table.keys) == 4)
        await pilot.press("r")
        await until(lambda: table.keys == keys(ids[1:]))
        await pilot.press("a")
        await until_text(pilot, "frozen")
        await connection.execute("UPDATE embedding_tasks SET status = 'completed' WHERE id = $1", ids[3])
        seen, asked_at = store(pilot), monotonic()
        await until(
            lambda: any(
                isinstance(one, TaskList) and answer.at > asked_at for one, answer in seen.answers.items()
            )
        )
        await pilot.pause()
        assert table.keys == keys(ids[1:])


async def test_tasks_that_newer_ones_push_off_the_page_stay_marked(
    database: Database, connection: Connection
) -> None:
    await add_tasks(connection, PAGE + 1)
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await until(lambda: len(table.keys) == PAGE)
        await pilot.press("a", "f")  # marking freezes the list
        [newest] = await add_tasks(connection, 1, slug="new", ago_s=1)
        await until(lambda: str(newest) in table.keys)
        assert len(table.marked) == PAGE


async def test_all_that_match_are_cancelled_after_their_number_was_typed(
    database: Database, connection: Connection
) -> None:
    wanted = await add_tasks(connection, 130, slug="alpha", status="pending")
    kept = await add_tasks(connection, 10, slug="beta", status="pending")
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await type_filter(pilot, "alpha")
        await until(lambda: len(table.keys) == 100)
        await pilot.press("X")
        await until_asked(pilot)
        await pilot.press("y", "enter", "backspace", *"130", "enter")
        await until(lambda: table.keys != () and "130 tasks cancelled" in shown(pilot))
        assert set(await statuses(connection, wanted)) == {"failed"}
        assert set(await statuses(connection, kept)) == {"pending"}
        await pilot.press("P")
        await until_text(pilot, "Priority of")
        await pilot.press("k", "enter")
        await until_shown(pilot, lambda screen: "can be given" in screen or "none" in screen)
        await type_filter(pilot, "beta")
        await until(lambda: len(table.keys) == 10)
        await asyncio.sleep(SETTLE_S)  # what jumped under the cursor this moment is not acted on
        await pilot.press("p")
        await until_text(pilot, "Priority of beta-1")
        await pilot.press("k", "enter")
        await until_text(pilot, "pending     high")
    by = await connection.fetch(
        """SELECT DISTINCT metadata ->> 'operator' || '@' || (metadata ->> 'host') AS by, task_id
           FROM embedding_audit_logs WHERE task_id IS NOT NULL AND metadata ->> 'action' <> ''"""
    )
    assert {row["by"] for row in by} == {OPERATOR}
    assert {row["task_id"] for row in by} == {*wanted, kept[0]}


async def test_tasks_that_wait_for_their_next_attempt_are_retried_at_once(
    database: Database, connection: Connection
) -> None:
    due = await add_tasks(connection, 2, slug="due", status="pending")
    late = await add_tasks(connection, 3, slug="late", status="pending", ago_s=-4_000)
    [failed] = await add_tasks(connection, 1)
    waiting = "SELECT count(*) FROM embedding_tasks WHERE scheduled_at > now()"
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await until(lambda: len(table.keys) == 6 and table.current == str(late[0]))
        await pilot.press("r")  # the row says when its next attempt is due
        await until_text(pilot, "1 task retried")
        assert await connection.fetchval(waiting) == 2
        await type_filter(pilot, "status:pending")
        await until(lambda: len(table.keys) == 5)
        await pilot.press("R")
        await until_text(pilot, "Retry 2 pending tasks that are not due yet")
        await until_asked(pilot)
        await pilot.press("y")
        await until_text(pilot, "2 tasks retried")
    assert await connection.fetchval(waiting) == 0
    assert await statuses(connection, [*due, *late, failed]) == ["pending"] * 5 + ["failed"]


async def test_a_failed_task_is_given_up_whatever_else_is_listed(
    database: Database, connection: Connection
) -> None:
    [failed] = await add_tasks(connection, 1)
    await add_tasks(connection, 1, slug="other", status="pending", ago_s=2_000)
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await until(lambda: len(table.keys) == 2 and table.current == str(failed))
        await pilot.press("x")
        await until_asked(pilot)
        await pilot.press("y")
        await until_text(pilot, "1 task cancelled")
    error = await connection.fetchval("SELECT error_message FROM embedding_tasks WHERE id = $1", failed)
    assert error == CANCELLED


async def test_nothing_is_changed_where_nothing_may_be(database: Database, connection: Connection) -> None:
    ids = await add_tasks(connection, 3)
    async with console(database.settings, read_only=True) as pilot:
        table = await opened(pilot)
        await until(lambda: len(table.keys) == 3)
        for key in "rxpRXP":
            await pilot.press(key)
        await until_text(pilot, "Read-only")
        assert isinstance(pilot.app.screen, TasksScreen)
    assert await statuses(connection, ids) == ["failed"] * 3


async def test_a_marked_task_that_a_filter_hides_is_not_retried_without_asking(
    database: Database, connection: Connection
) -> None:
    hidden, seen = [(await add_tasks(connection, 1, slug=slug))[0] for slug in ("hidden", "seen")]
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await type_filter(pilot, "slug:hidden")
        await until(lambda: table.keys == keys([hidden]))
        await pilot.press("space")
        await type_filter(pilot, "slug:seen")
        await until(lambda: table.keys == keys([seen]))
        await pilot.press("r")
        await until_asked(pilot)
        assert "hidden-1" in shown(pilot)
        await pilot.press("n")
        assert await statuses(connection, [hidden, seen]) == ["failed", "failed"]


async def test_a_marked_task_is_cancelled_as_what_it_is_not_as_what_the_filter_shows_now(
    database: Database, connection: Connection
) -> None:
    [waiting] = await add_tasks(connection, 1, slug="waiting", status="pending")
    [failed] = await add_tasks(connection, 1, slug="failed")
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await type_filter(pilot, "status:pending")
        await until(lambda: table.keys == keys([waiting]))
        await pilot.press("space")
        await type_filter(pilot, "status:failed")
        await until(lambda: table.keys == keys([failed]))
        await pilot.press("x")
        await until_asked(pilot)
        await pilot.press("y")
        await until_text(pilot, "1 task cancelled")
        assert await statuses(connection, [waiting, failed]) == ["failed", "failed"]


@pytest.mark.parametrize("key", ["f7", "f8"])
async def test_a_key_of_ones_own_is_told_too_that_nothing_may_be_changed(
    database: Database, connection: Connection, key: str
) -> None:
    await add_tasks(connection, 3)
    keymap = {"tasks.retry": "f7", "tasks.retry_all": "f8"}
    app = Console(database.settings, Profile(), Options(OPERATOR, read_only=True, keymap=keymap))
    async with app.run_test(notifications=True) as pilot:
        table = await opened(pilot)
        await until(lambda: len(table.keys) == 3)
        await pilot.press("r", "R")  # which mean nothing now
        assert "Read-only" not in shown(pilot)
        await pilot.press(key)
        await until_text(pilot, "Read-only")


@pytest.mark.parametrize("action", ["retry", "sweep_cancel"])
async def test_a_command_without_anything_to_do_it_to_says_so(database: Database, action: str) -> None:
    async with console(database.settings) as pilot:
        app = pilot.app
        assert isinstance(app, Console)
        await opened(pilot)
        app.act_on("tasks", action)  # as the list of commands does
        await until(lambda: len(notices(pilot)) == 1)


async def test_notifications_cover_no_button_of_a_dialog(database: Database, connection: Connection) -> None:
    await add_tasks(connection, 30)  # some may be retried first: there is a third button
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await until(lambda: len(table.keys) == 30)
        await pilot.press("y", "y", "y", "R")
        await until_asked(pilot)
        dialog = pilot.app.screen
        await until(lambda: len(dialog.query(Toast)) == 3 and dialog.query(Toast).first().region.height > 0)
        covered = [toast.region for toast in dialog.query(Toast)]
        assert not [each for each in dialog.query(Button) if any(map(each.region.overlaps, covered))]


async def test_what_jumped_under_the_cursor_this_moment_is_not_acted_on(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyed_table, "SETTLE_S", 600.0)  # this machine may be slow
    chosen, below = await add_tasks(connection, 2)
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await type_filter(pilot, "status:failed")
        await until(lambda: table.keys == keys([chosen, below]) and table.current == str(chosen))
        await connection.execute("UPDATE embedding_tasks SET status = 'completed' WHERE id = $1", chosen)
        await until(at(table, below))
        await pilot.press("r")
        await until(lambda: len(notices(pilot)) == 1)
    assert await statuses(connection, [below]) == ["failed"]


async def test_all_that_are_shown_are_marked_and_unmarked_by_one_key(
    database: Database, connection: Connection
) -> None:
    ids = await add_tasks(connection, 3)
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await until(lambda: len(table.keys) == 3)
        await pilot.press("space", "a")
        assert table.marked == set(keys(ids))
        await pilot.press("a")
        assert table.marked == set()
