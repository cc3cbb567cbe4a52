"""The screen of failures: groups that keep their places, and that just the chosen one is retried."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embedq_tui.screens.failures import questions
from embedq_tui.screens.failures import screen as failures
from embedq_tui.screens.failures.screen import FailuresScreen
from embedq_tui.screens.tasks.screen import TasksScreen
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.text_view import TextView
from tests.console.running import (
    ConsolePilot,
    console,
    enter,
    go_to,
    notices,
    shown,
    until_asked,
    until_shown,
    until_text,
)
from tests.support.content import fail, statuses
from tests.support.databases import Connection, Database
from tests.support.waiting import until

HOSTILE = "[/foo][@click=app.quit]x[/] \x1b]52;c;aGk=\x07\u202e 中\r\nsecond [red line"
WITHIN_S = 20.0


def tasks_screen(pilot: ConsolePilot) -> TasksScreen:
    """The screen of tasks, which is shown."""
    screen = pilot.app.screen
    assert isinstance(screen, TasksScreen)
    return screen


async def until_cursor(screen: FailuresScreen, group: str) -> None:
    """Wait until the cursor is on a group that is shown in full below."""
    view = screen.query_one(TextView)
    await until(lambda: screen.table.current == group and view.border_title == group, within_s=WITHIN_S)


async def test_what_fails_now_is_found_beneath_larger_groups_by_one_key(
    database: Database, connection: Connection
) -> None:
    large, small = await fail(connection, "old {} words", 30), await fail(connection, "new words", 2)
    undated = await fail(connection, "by hand", 3)
    await connection.execute("UPDATE embedding_tasks SET completed_at = NULL WHERE error_message = 'by hand'")
    await connection.execute(
        "UPDATE embedding_tasks SET completed_at = completed_at - interval '1 day' "
        "WHERE error_message LIKE 'old%'"
    )
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "4", FailuresScreen, rows=3)
        assert screen.table.keys == (large, undated, small)
        await pilot.press("s")
        await until(lambda: screen.table.keys == (small, large, undated), within_s=WITHIN_S)
        newest = await fail(connection, "words of today", 1)
        await connection.execute(
            "UPDATE embedding_tasks SET completed_at = now() WHERE error_message = 'words of today'"
        )
        await until(lambda: screen.table.keys == (newest, small, large, undated), within_s=WITHIN_S)
        await pilot.press("s")
        await until(lambda: screen.table.keys == (large, undated, small, newest), within_s=WITHIN_S)


async def test_a_retry_reaches_its_group_whatever_its_size_and_nothing_else(
    database: Database, connection: Connection
) -> None:
    big = await fail(connection, "connect ECONNREFUSED 10.0.0.{}:11434", 1_300)
    small = await fail(connection, 'model "m{}" not found', 300)
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "4", FailuresScreen, rows=2)
        assert screen.table.keys == (big, small)
        await until_text(pilot, "1,300", within_s=WITHIN_S)
        await pilot.press("j")
        await until_cursor(screen, small)
        await until_text(pilot, "ollama pull", within_s=WITHIN_S)  # the advice for it
        await pilot.press("k")
        await until_cursor(screen, big)
        await pilot.press("r")
        await until_asked(pilot)
        await until_shown(pilot, lambda text: "1,300" in text and big in text)
        await fail(connection, "connect ECONNREFUSED 10.0.0.{}:11434", 5)  # after it was asked
        await pilot.press("y")
        await until(lambda: pilot.app.screen is screen and len(notices(pilot)) > 0, within_s=60)
        assert await statuses(connection) == {"pending": 1_300, "failed": 305}
        left = await connection.fetch(
            """SELECT embedq_fingerprint(error_message) AS name, count(*) AS n FROM embedding_tasks
               WHERE status = 'failed' GROUP BY 1"""
        )
        assert {row["name"]: row["n"] for row in left} == {big: 5, small: 300}
        await until(lambda: screen.table.keys == (small, big), within_s=WITHIN_S)
        assert screen.table.current == big


async def test_a_group_is_cancelled_and_taken_back(database: Database, connection: Connection) -> None:
    big = await fail(connection, "This model's maximum context length is {} tokens", 40)
    small = await fail(connection, "timeout of {} ms exceeded", 5)
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "4", FailuresScreen, rows=2)
        await until_cursor(screen, big)
        await pilot.press("x")
        await until_asked(pilot)
        await until_shown(pilot, lambda text: "40" in text and big in text)
        await pilot.press("4", "0", "enter")
        cancelled = await connection.fetchval("SELECT embedq_fingerprint('Cancelled by administrator')")
        await until(lambda: set(screen.table.keys) == {cancelled, small}, within_s=WITHIN_S)
        assert await statuses(connection) == {"failed": 45}
        await until(lambda: pilot.app.screen is screen)
        await pilot.press("u")
        await until_asked(pilot)
        await pilot.press("y")
        await until(lambda: set(screen.table.keys) == {big, small}, within_s=WITHIN_S)


async def test_rows_stay_where_they_are_while_an_operator_moves(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "STEADY_S", 1_000.0)
    first = await fail(connection, "alpha {}", 30)
    second = await fail(connection, "beta {}", 20)
    third = await fail(connection, "gamma {}", 10)
    async with console(database.settings, (120, 40)) as pilot:
        screen = await go_to(pilot, "4", FailuresScreen, rows=3)
        await pilot.press("j")
        await fail(connection, "gamma {}", 40)
        fourth = await fail(connection, "delta {}", 60)
        await until(lambda: len(screen.table.keys) == 4, within_s=WITHIN_S)
        assert screen.table.keys == (first, second, third, fourth)
        assert screen.table.current == second
        monkeypatch.setattr(failures, "STEADY_S", 0.0)
        await until(lambda: screen.table.keys == (fourth, third, first, second), within_s=WITHIN_S)
        await until_cursor(screen, second)
        await until_text(pilot, "█|", within_s=WITHIN_S)  # of its trend, now
        # Its group goes away: another one is shown, and is not taken for it.
        await connection.execute("DELETE FROM embedding_tasks WHERE error_message LIKE 'beta%'")
        await until_cursor(screen, first)
        await connection.execute("DELETE FROM embedding_tasks")
        await until(lambda: not screen.table.keys, within_s=WITHIN_S)
        await pilot.press("r", "y", "Y", "e", "enter", "J", "K", "j")
        assert pilot.app.screen is screen


async def test_every_group_is_reached_page_by_page_and_exported(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(questions, "PAGE", 2)
    groups = [await fail(connection, name + " {}", 9 - place) for place, name in enumerate("abcde")]
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "4", FailuresScreen, rows=2)

        async def until_page(number: int) -> None:
            page = tuple(groups[2 * number - 2 : 2 * number])
            await until(lambda: screen.table.keys == page, within_s=WITHIN_S)

        await until_page(1)
        await pilot.press("e")
        await until_text(pilot, "Export failures")
        await enter(pilot, str(tmp_path / "failures.json"))
        await until_text(pilot, "5 rows written")
        written = json.loads((tmp_path / "failures.json").read_text(encoding="utf-8"))
        assert [row["fingerprint"] for row in written] == groups
        await pilot.press("left_square_bracket")
        await pilot.press("right_square_bracket")
        await until_page(2)
        await until_cursor(screen, groups[2])
        await pilot.press("f")  # frozen too
        await pilot.press("j", "j")
        await until_page(3)
        await pilot.press("right_square_bracket", "k")
        await until_page(2)
        await until_cursor(screen, groups[3])
        await pilot.press("f", "left_curly_bracket")
        await until_page(1)
        await pilot.press("right_square_bracket")
        await until_page(2)
        await pilot.press("right_square_bracket")
        await until_page(3)
        await until_cursor(screen, groups[4])
        await pilot.pause(0.5)  # rows that have just come are not meant
        await pilot.press("r")
        await until_asked(pilot)
        await pilot.press("y")
        await until_page(2)  # nothing is left on the last page
        assert await statuses(connection) == {"pending": 5, "failed": 30}


async def test_another_span_of_the_trend_is_shown_while_the_rest_stands_still(
    database: Database, connection: Connection
) -> None:
    await fail(connection, "broke {}", 3)
    async with console(database.settings) as pilot:
        await go_to(pilot, "4", FailuresScreen, rows=1)
        await until_text(pilot, "3 in the last 1 h")
        await pilot.press("f", "t")
        await until_text(pilot, "3 in the last 1 d")
        assert "frozen" in shown(pilot)


async def test_however_small_a_group_is_it_has_a_share(database: Database, connection: Connection) -> None:
    await fail(connection, "broke {}", 30_000)
    await fail(connection, "once", 1)
    async with console(database.settings) as pilot:
        await go_to(pilot, "4", FailuresScreen, rows=2)
        await until_text(pilot, "<1%")


async def test_hostile_and_endless_errors_are_text(database: Database, connection: Connection) -> None:
    hostile = await fail(connection, HOSTILE, 3)
    endless = await fail(connection, "expected " + "x expected " * 500_000, 2)
    silent = await fail(connection, None, 1)
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "4", FailuresScreen, rows=3)
        assert screen.table.keys == (hostile, endless, silent)
        await until_text(pilot, "second [red line", within_s=WITHIN_S)
        assert not set(shown(pilot)) & set("\x1b\x07\u202e\r")
        await pilot.press("y")
        assert pilot.app.clipboard.startswith("[/foo]")
        await pilot.press("r")
        await until_asked(pilot)
        await pilot.press("escape")
        await pilot.press("j")
        await until_cursor(screen, endless)
        await pilot.press(*["J"] * 4)
        await until(lambda: screen.query_one(TextView).scroll_offset.y > 0)
        await pilot.press("j")
        await until_cursor(screen, silent)
        await until(lambda: screen.query_one(TextView).scroll_offset.y == 0)
        await pilot.resize_terminal(20, 5)
        await pilot.resize_terminal(80, 24)
        await until_text(pilot, silent, within_s=WITHIN_S)


async def test_a_group_leads_to_its_tasks_and_back(database: Database, connection: Connection) -> None:
    await fail(connection, "alpha {}", 5)
    group = await fail(connection, "beta {}", 3)
    async with console(database.settings, read_only=True) as pilot:
        screen = await go_to(pilot, "4", FailuresScreen, rows=2)
        await pilot.press("r")
        await until(lambda: len(notices(pilot)) == 1)
        assert pilot.app.screen is screen
        await pilot.press("j")
        await until_cursor(screen, group)
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, TasksScreen))
        rows = await connection.fetch("SELECT id FROM embedding_tasks WHERE error_message LIKE 'beta%'")
        listed = {str(row["id"]) for row in rows}
        await until(lambda: set(tasks_screen(pilot).query_one(KeyedTable).keys) == listed, within_s=WITHIN_S)
        await pilot.press("backspace")
        await until(lambda: pilot.app.screen is screen)
        assert screen.table.current == group


async def test_what_is_below_is_the_group_under_the_cursor_however_fast_it_moves(
    database: Database, connection: Connection
) -> None:
    first = await fail(connection, "boom {}", 3)
    await fail(connection, "other {}", 2)
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "4", FailuresScreen, rows=2)
        await until_cursor(screen, first)
        await until_text(pilot, "slug-1,")  # its newest tasks: it was asked for
        await pilot.press("f")  # nothing is drawn anew by itself
        for _ in range(3):
            await pilot.press("j", "k")
            await pilot.pause()
            assert screen.table.current == first
            assert screen.query_one(TextView).border_title == first
