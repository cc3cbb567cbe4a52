"""The screen of stuck tasks: what it lists, and that it frees just those."""

from __future__ import annotations

from uuid import UUID, uuid4

from embedq_tui.dialogs.outcome import Tell
from embedq_tui.screens.stuck.screen import StuckScreen
from embedq_tui.screens.tasks.detail import TaskDetailScreen
from embedq_worker.schema.task_values import CANCELLED
from tests.commands.actors import start_worker
from tests.console.running import (
    ConsolePilot,
    console,
    go_to,
    notices,
    shown,
    until_asked,
    until_shown,
    until_text,
)
from tests.support.content import queued_articles, statuses, until_tasks
from tests.support.databases import Connection, Database
from tests.support.waiting import until

HOSTILE = "[/foo][@click=app.quit]x[/] \x1b]52;c;aGk=\x07\u202e 中"
WITHIN_S = 20.0


async def claim(connection: Connection, count: int, worker: UUID | None, age: str, slug: str) -> list[UUID]:
    """Put new tasks into a worker's hands, the first the longest ago; None: another program's."""
    articles = await queued_articles(connection, count, slug=slug)
    rows = await connection.fetch(
        """UPDATE embedding_tasks t
           SET status = 'processing', processed_at = c.at, worker_id = $2::uuid,
               claimed_at = CASE WHEN $2::uuid IS NOT NULL THEN c.at END
           FROM unnest($1::int[]) WITH ORDINALITY AS a(id, place),
                LATERAL (SELECT now() - $3::text::interval + a.place * interval '1 second' AS at) AS c
           WHERE t.article_id = a.id RETURNING t.id, a.place""",
        articles,
        worker,
        age,
    )
    return [row["id"] for row in sorted(rows, key=lambda row: int(row["place"]))]


async def dialog(pilot: ConsolePilot, key: str) -> str:
    """What is asked after a key."""
    await pilot.press(key)
    await until_asked(pilot)
    return shown(pilot)


async def until_statuses(pilot: ConsolePilot, connection: Connection, **wanted: int) -> None:
    """Wait until no dialog is open and tasks are these."""
    await until_tasks(connection, **wanted)  # before what is done is under way, no dialog is open either
    await until(lambda: isinstance(pilot.app.screen, StuckScreen), within_s=WITHIN_S)


async def test_nothing_is_stuck_until_something_is(database: Database, connection: Connection) -> None:
    alive = await start_worker(connection)
    await claim(connection, 3, alive, "5 min", "busy")
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "3", StuckScreen, rows=0)
        await until_text(pilot, "30 min", within_s=WITHIN_S)  # what would count as stuck
        await pilot.press("r", "R", "x", "X", "y", "e", "enter", "space", "a")
        assert pilot.app.screen is screen
        await connection.execute("SELECT embedq_worker_stop($1, 'done')", alive)
        await until(lambda: len(screen.table.keys) == 3, within_s=WITHIN_S)
    assert await statuses(connection) == {"processing": 3}


async def test_all_that_is_stuck_is_freed_whatever_its_size_and_nothing_else(
    database: Database, connection: Connection
) -> None:
    alive, silent = await start_worker(connection), await start_worker(connection, silent="5 min")
    await claim(connection, 210, uuid4(), "20 min", "gone")
    await claim(connection, 27, silent, "10 min", "silent")
    kept = await claim(connection, 9, alive, "10 min", "busy")
    async with console(database.settings) as pilot:
        await go_to(pilot, "3", StuckScreen, rows=200)
        await until_text(pilot, "237", within_s=WITHIN_S)
        question = await dialog(pilot, "R")
        assert "Reset 237 stuck tasks of 2 workers" in question
        await pilot.press("n")
        await claim(connection, 4, None, "2 h", "other")
        question = await dialog(pilot, "R")
        assert "241" in question
        await pilot.press("y")
        await until_text(pilot, "241 tasks", within_s=WITHIN_S)
        await until_statuses(pilot, connection, pending=241, processing=9)
        await until(lambda: not pilot.app.screen.query_one("#tasks").row_count, within_s=WITHIN_S)  # type: ignore[attr-defined]
    held = await connection.fetch("SELECT id FROM embedding_tasks WHERE status = 'processing'")
    assert {row["id"] for row in held} == set(kept)


async def test_of_the_marked_only_those_that_are_still_stuck(
    database: Database, connection: Connection
) -> None:
    silent = await start_worker(connection, silent="5 min")
    gone = await claim(connection, 5, uuid4(), "20 min", "gone")
    await claim(connection, 2, silent, "10 min", "silent")
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "3", StuckScreen, rows=7)
        await pilot.press("space", "space", "G", "space")
        await until(lambda: screen.frozen)
        assert len(screen.table.marked) == 3
        await claim(connection, 3, None, "3 h", "later")
        await connection.execute("UPDATE embedq_workers SET heartbeat_at = clock_timestamp()")
        question = await dialog(pilot, "r")
        assert "2 stuck tasks" in question
        await pilot.press("y")
        # The one that was left out is told.
        await until(lambda: pilot.app.screen is not screen, within_s=WITHIN_S)
        await until_shown(pilot, lambda text: "silent-1" in text, within_s=WITHIN_S)
        await pilot.press("enter")
        await until(lambda: not screen.table.marked and len(screen.table.keys) == 6, within_s=WITHIN_S)
        assert not screen.frozen
    rows = await connection.fetch("SELECT id FROM embedding_tasks WHERE status = 'pending'")
    assert {row["id"] for row in rows} == set(gone[:2])


async def test_marks_are_cleared_where_none_of_the_tasks_is_stuck_any_more(
    database: Database, connection: Connection
) -> None:
    await claim(connection, 3, uuid4(), "20 min", "gone")
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "3", StuckScreen, rows=3)
        await pilot.press("space", "space")
        await until(lambda: screen.frozen)
        await connection.execute("UPDATE embedding_tasks SET status = 'pending', processed_at = NULL")
        await pilot.press("r")
        await until(lambda: pilot.app.screen is not screen, within_s=WITHIN_S)
        await pilot.press("escape")
        await until(lambda: not screen.frozen and not screen.table.keys, within_s=WITHIN_S)


async def test_tasks_that_another_session_holds_locked_stay_marked(
    database: Database, connection: Connection
) -> None:
    await claim(connection, 3, uuid4(), "20 min", "gone")
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "3", StuckScreen, rows=3)
        await pilot.press("space", "space")
        await until(lambda: screen.frozen)
        async with connection.transaction():
            await connection.execute("SELECT FROM embedding_tasks FOR UPDATE")
            await dialog(pilot, "r")
            await pilot.press("y")
            await until(lambda: isinstance(pilot.app.screen, Tell), within_s=WITHIN_S)
        await pilot.press("escape")
        await until(lambda: pilot.app.screen is screen)
        assert len(screen.table.marked) == 2
        assert screen.frozen
        await dialog(pilot, "r")
        await pilot.press("y")
        await until_statuses(pilot, connection, pending=2, processing=1)


async def test_an_age_that_is_chosen_is_shown_where_the_screen_stood_still(
    database: Database, connection: Connection
) -> None:
    await claim(connection, 2, await start_worker(connection), "10 min", "slow")
    async with console(database.settings) as pilot:
        screen = await go_to(pilot, "3", StuckScreen, rows=0)
        await pilot.press("f", "m")
        await until(lambda: pilot.app.screen is not screen and pilot.app.screen.focused is not None)
        await pilot.press("end", *["backspace"] * 6, "5", "enter")
        await until(lambda: len(screen.table.keys) == 2 and not screen.frozen, within_s=WITHIN_S)


async def test_the_cursor_stays_with_its_task_and_a_chosen_age_counts(
    database: Database, connection: Connection
) -> None:
    alive = await start_worker(connection)
    tasks = await claim(connection, 6, alive, "10 min", "slow")
    async with console(database.settings, (120, 40)) as pilot:
        screen = await go_to(pilot, "3", StuckScreen, rows=0)
        await pilot.press("m")
        await until(lambda: pilot.app.screen is not screen and pilot.app.screen.focused is not None)
        await pilot.press("end", *["backspace"] * 6, "x", "enter")
        assert pilot.app.screen is not screen
        await pilot.press("backspace", "5", "enter")
        await until(lambda: len(screen.table.keys) == 6, within_s=WITHIN_S)
        await pilot.press("j", "j", "j")
        assert screen.table.current == str(tasks[3])
        await connection.execute("DELETE FROM embedding_tasks WHERE id = ANY ($1::uuid[])", tasks[:2])
        await until(lambda: len(screen.table.keys) == 4, within_s=WITHIN_S)
        assert screen.table.current == str(tasks[3])
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, TaskDetailScreen))
        await until_text(pilot, str(tasks[3]), within_s=WITHIN_S)
        await pilot.press("escape")
        await until(lambda: pilot.app.screen is screen)
        question = await dialog(pilot, "x")
        assert "slow-3" in question
        await pilot.press("y")
        await until_statuses(pilot, connection, processing=3, failed=1)
    assert (
        await connection.fetchval("SELECT id FROM embedding_tasks WHERE error_message = $1", CANCELLED)
        == (tasks[3])
    )


async def test_hostile_text_is_text_and_read_only_is_read_only(
    database: Database, connection: Connection
) -> None:
    [task] = await claim(connection, 1, None, "2 h", "some")
    await connection.execute("UPDATE embedding_tasks SET slug = $1", HOSTILE)
    async with console(database.settings, read_only=True) as pilot:
        screen = await go_to(pilot, "3", StuckScreen, rows=1)
        await until_text(pilot, "[/foo]", within_s=WITHIN_S)
        assert not set(shown(pilot)) & set("\x1b\x07\u202e")
        for key in ("r", "R", "x", "X"):
            await pilot.press(key)
        await until(lambda: len(notices(pilot)) == 4)
        assert pilot.app.screen is screen
        await pilot.press("y")
        assert pilot.app.clipboard == str(task)
        await pilot.resize_terminal(20, 5)
        await pilot.resize_terminal(80, 24)
        await until_text(pilot, "[/foo]", within_s=WITHIN_S)
    assert await statuses(connection) == {"processing": 1}
