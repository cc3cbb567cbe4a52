"""The list of tasks: it finds, and keeps rows in their places while data moves."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from textual.events import Key
from textual.widgets import Input

from embedq_tui.screens.tasks.detail import TaskDetailScreen
from embedq_worker.configuration.loading import load_settings
from tests.console.running import console, enter, shown, type_filter, until_text
from tests.console.task_list import add_tasks, at, keys, opened, statuses
from tests.support.databases import Connection, Database
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until

HOSTILE = "[/foo][@click=app.quit]x[red $error a[/ \x1b]52;c;aGk=\x07\x9b2J\u202e\u4e2d\u0301"


async def test_rows_keep_their_places_while_others_come_change_and_go(
    database: Database, connection: Connection
) -> None:
    ids = await add_tasks(connection, 6)
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await until(lambda: table.keys == keys(ids))
        newer = await add_tasks(
            connection, 1, slug="newer", ago_s=0
        )  # on the first row it follows what comes
        await until(lambda: len(table.keys) == 7)
        assert table.cursor_row == 0
        await connection.execute("DELETE FROM embedding_tasks WHERE id = $1", newer[0])
        await until(lambda: table.keys == keys(ids))

        await pilot.press("down", "down")
        await until(at(table, ids[2]))
        await add_tasks(connection, 1, slug="newest", ago_s=0)
        await until(lambda: len(table.keys) == 7)
        assert table.current == str(ids[2])
        await connection.execute(  # it would be the first of all now
            "UPDATE embedding_tasks SET status = 'processing', processed_at = now() WHERE id = $1", ids[2]
        )
        await until_text(pilot, "processing  normal  s-3")
        assert table.current == str(ids[2])
        assert table.keys[1:] == keys(ids)
        await connection.execute("DELETE FROM embedding_tasks WHERE id = $1", ids[2])
        await until(at(table, ids[3]))
        await connection.execute("DELETE FROM embedding_tasks")
        await until(lambda: table.keys == ())


async def test_pages_of_any_list_one_after_the_other(database: Database, connection: Connection) -> None:
    ids = await add_tasks(connection, 250)
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await until(lambda: table.keys == keys(ids[:100]))
        await until_text(pilot, "100 of 250")
        await pilot.press("G")
        await add_tasks(connection, 150, slug="flood", ago_s=0)  # what is looked at is not washed away
        await pilot.press("down")
        await until(lambda: table.keys == keys(ids[100:200]))
        assert table.cursor_row == 0
        await pilot.press("right_square_bracket")
        await until(lambda: table.keys == keys(ids[200:]))
        await pilot.press("up")
        await until(lambda: table.keys == keys(ids[100:200]))
        assert table.cursor_row == 99
        await pilot.press("left_square_bracket")
        await until(lambda: table.keys == keys(ids[:100]))
        await pilot.press("g")
        await until(lambda: not set(table.keys) & set(keys(ids)))
        await pilot.press("s")
        await until(lambda: table.keys[:100] == keys(ids[150:][::-1]))


async def test_pending_tasks_are_listed_as_they_are_claimed(
    database: Database, connection: Connection
) -> None:
    tasks = await add_tasks(connection, 250, status="pending")
    await add_tasks(connection, 5)
    await connection.execute(
        """UPDATE embedding_tasks SET priority = (ARRAY['low', 'high', 'normal'])[1 + right(slug, 1)::int % 3]
           WHERE id = ANY ($1::uuid[])""",
        tasks,
    )
    claimed = await connection.fetchval(
        """SELECT array_agg(id::text ORDER BY embedq_rank(priority), scheduled_at, id)
           FROM embedding_tasks WHERE status = 'pending'"""
    )
    async with console(database.settings, (120, 40)) as pilot:
        table = await opened(pilot)
        await pilot.press("s", "s")  # of other tasks there are two orders
        await until_text(pilot, "newest first")
        await pilot.press("tab", "s", "s")
        await until(lambda: table.keys == tuple(claimed[:100]))
        await until_text(pilot, "next first")
        await pilot.press("j", "right_square_bracket")  # what is held begins where it began
        await until(lambda: table.keys == tuple(claimed[100:200]))
        await pilot.press("right_square_bracket")
        await until(lambda: table.keys == tuple(claimed[200:]))
        await pilot.press("tab")
        await until_text(pilot, "newest first")


async def test_a_flood_washes_nothing_away(database: Database, connection: Connection) -> None:
    ids = await add_tasks(connection, 30)
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await until(lambda: len(table.keys) == 30)
        await pilot.press("down", "down")
        await until(at(table, ids[2]))
        for number in range(4):
            await add_tasks(connection, 90, slug=f"flood{number}", ago_s=900 - 100 * number)
            await until_text(pilot, f"all {30 + 90 * (number + 1)}")
        await until_text(pilot, "pinned")
        assert table.current == str(ids[2])
        await connection.execute("DELETE FROM embedding_tasks WHERE id = $1", ids[2])
        await until(at(table, ids[3]))
        await pilot.press("g")
        await until(lambda: len(table.keys) == 100 and not set(table.keys) & set(keys(ids)))


async def test_rows_are_not_pushed_off_a_full_list(database: Database, connection: Connection) -> None:
    ids = await add_tasks(connection, 30)
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await until(lambda: table.keys == keys(ids))
        await pilot.press("G")
        await until(at(table, ids[-1]))
        first, *_ = await add_tasks(connection, 110, slug="flood", ago_s=0)
        await until_text(pilot, "pinned")
        async with connection.transaction():  # behind the row at which the list is pinned
            more = await add_tasks(connection, 90, slug="more", ago_s=0)
            await connection.execute(
                """UPDATE embedding_tasks SET completed_at = f.completed_at - interval '1 ms'
                   FROM embedding_tasks AS f WHERE f.id = $1 AND embedding_tasks.id = ANY ($2::uuid[])""",
                first,
                more,
            )
        await until(lambda: bool(set(table.keys) & set(keys(more))))
        assert set(keys(ids)) <= set(table.keys)
        assert table.current == str(ids[-1])


async def test_a_filter_is_written_corrected_counted_and_cleared(
    database: Database, connection: Connection
) -> None:
    await add_tasks(connection, 120, slug="alpha", error="timed out")
    other = await add_tasks(connection, 3, slug="beta", error="refused")
    await add_tasks(connection, 2, slug="gamma", status="completed")
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await until_text(pilot, "all 125")
        await type_filter(pilot, "error:timed colour:red")
        await until_text(pilot, "unknown key 'colour'")
        await pilot.press("escape")
        await until(lambda: pilot.app.screen.focused is table)
        await type_filter(pilot, 'status:failed error:"timed out" alpha')
        await until_text(pilot, "100 of 120")
        await connection.execute("DELETE FROM embedding_tasks WHERE slug = 'alpha-7'")
        await until_text(pilot, "100 of 119")
        await type_filter(pilot, str(other[1]))
        await until(lambda: table.keys == (str(other[1]),))
        await pilot.press("escape")
        await until_text(pilot, "100 of 124")
        await pilot.press("tab", "tab", "tab")
        await until(lambda: len(table.keys) == 2)
        await pilot.press("shift+tab", "shift+tab")
        await until_text(pilot, "no matches")
        await type_filter(pilot, "omega")
        await until_text(pilot, "no such slug")
        await type_filter(pilot, "status:pending slug:alpha")
        await until_text(pilot, "no matches")
        await pilot.press("slash", "ctrl+u", "s", "t", "tab", "f")
        await until(lambda: pilot.app.screen.query_one("#filter", Input).value == "status:f")
        await pilot.press("tab", "space", "b", "e", "t", "enter")
        await until(lambda: table.keys == keys(other))


async def test_what_is_typed_after_the_slash_is_never_taken_for_commands(
    database: Database, connection: Connection
) -> None:
    ids = await add_tasks(connection, 3)
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await until(lambda: len(table.keys) == 3)
        for character in "/rq1xaf":  # all at once, as from a fast hand on a slow line
            pilot.app.post_message(Key("slash" if character == "/" else character, character))
        await until(lambda: pilot.app.screen.query_one("#filter", Input).value == "rq1xaf")
        assert not table.marked
    assert await statuses(connection, ids) == ["failed"] * 3


@pytest.mark.parametrize("size", [(200, 60), (20, 5)])
async def test_texts_of_anybody_are_shown_as_they_are(
    database: Database, connection: Connection, size: tuple[int, int]
) -> None:
    await add_tasks(connection, 2, slug=HOSTILE[:60], error=HOSTILE)
    await add_tasks(connection, 1, slug="long", error="é" * 5_000_000)
    async with console(database.settings, size) as pilot:
        table = await opened(pilot)
        await until(lambda: len(table.keys) == 3)
        await pilot.press("down", "down", "space", "slash", "escape", "escape")
        screen = shown(pilot)
        assert not any(mark in screen for mark in "\x1b\x07\x9b\u202e")
        if size[0] > 80:
            assert "[/foo][@click=app.quit]x[red $error a[/" in screen
        await pilot.resize_terminal(1, 1)
        await pilot.resize_terminal(80, 24)
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, TaskDetailScreen))


async def test_rows_stay_while_the_database_is_away(database: Database, connection: Connection) -> None:
    ids = await add_tasks(connection, 3)
    async with TcpProxy(database.url) as proxy, console(load_settings(database_url=proxy.url)) as pilot:
        table = await opened(pilot)
        await until(lambda: table.keys == keys(ids))
        proxy.refuses = True
        proxy.cut()
        await pilot.press("ctrl+r")
        await until_text(pilot, "no answer")
        await connection.execute("DELETE FROM embedding_tasks WHERE id = $1", ids[0])
        await pilot.press("down")
        assert table.keys == keys(ids)
        proxy.refuses = False
        await pilot.press("ctrl+r")
        await until(lambda: table.keys == keys(ids[1:]))
        assert table.current == str(ids[1])


async def test_what_was_never_known_does_not_look_empty(database: Database) -> None:
    async with TcpProxy(database.url) as proxy, console(load_settings(database_url=proxy.url)) as pilot:
        await opened(pilot)
        await until_text(pilot, "no tasks")
        await pilot.press("1")
        proxy.refuses = True
        proxy.cut()
        await pilot.press("ctrl+r")
        await until_text(pilot, "no answer")
        for screen in "34678":
            await pilot.press(screen)
            await until_text(pilot, "unknown: no connection")
        await pilot.press("2", "tab")
        await until_text(pilot, "unknown: no connection")


async def test_what_matches_is_exported_and_a_filter_is_kept_by_name(
    database: Database, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    await add_tasks(connection, 1_200, slug="alpha", error="=1+1")
    await add_tasks(connection, 5, slug="beta")
    async with console(database.settings) as pilot:
        table = await opened(pilot)
        await type_filter(pilot, "alpha")
        await until_text(pilot, "100 of 1,200")
        await pilot.press("w")
        await until_text(pilot, "Save this filter")
        await enter(pilot, "mine")
        await until_text(pilot, "Saved as mine")
        await pilot.press("escape", "o")
        await until_text(pilot, "Saved filters")
        await pilot.press("enter", "e")
        await until_text(pilot, "Export tasks")
        await enter(pilot, str(tmp_path / "out.csv"))
        await until_text(pilot, "1,200 rows written")
        await pilot.press("escape", "escape")
        await until(lambda: len(table.keys) == 100)
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["id"] for row in rows}) == 1_200
    assert {row["error"] for row in rows} == {"'=1+1"}
