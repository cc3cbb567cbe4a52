"""The screen of workers: what it asks of those that it did not start."""

from __future__ import annotations

import re
import time
from typing import cast

import pytest

from embedq_tui.console.app import Console
from embedq_tui.live.store import Look
from embedq_tui.screens.audit.screen import AuditScreen
from embedq_tui.screens.tasks.screen import TasksScreen
from embedq_tui.screens.workers import orders
from embedq_tui.screens.workers.screen import WorkersScreen
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.log_list import LogList
from embedq_worker.actions.orders import Order, command
from tests.commands.actors import let_hold, start_worker
from tests.console.running import OPERATOR, console, shown, store, until_asked, until_shown, until_text
from tests.support.content import add_articles, queue_tasks, until_true
from tests.support.databases import Connection, Database
from tests.support.waiting import until


async def test_a_key_that_is_pressed_again_before_the_worker_answered_counts_too(
    database: Database, connection: Connection
) -> None:
    worker = await start_worker(connection)  # works on one batch, and never says otherwise
    async with console(database.settings, (120, 40)) as pilot:
        await pilot.press("5")
        await until_text(pilot, "build-7")
        await pilot.press("plus", "plus", "plus")
        wanted = "SELECT concurrency_wanted = 4 FROM embedq_workers WHERE id = $1"
        await until_true(connection, wanted, worker)
        await until_text(pilot, "will process 4 batches")


async def test_data_that_were_old_are_called_live_as_soon_as_they_are_new(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console(database.settings, (120, 40)) as pilot:
        await pilot.press("5")
        await until_text(pilot, "This console")
        screen = cast(WorkersScreen, pilot.app.screen)
        answers = store(pilot).answers
        await until(lambda: set(screen.questions()) <= set(answers))
        for draws in ("tick", "take_state"):
            monkeypatch.setattr(screen, draws, lambda: None)
        for question in screen.questions():
            answers[question] = answers[question]._replace(at=time.monotonic() - 1_000)
        screen.draw_frame()
        await until_text(pilot, "data 16 min old")
        screen.session.again()
        await until_text(pilot, "● live")


async def test_where_nothing_may_be_changed_no_order_is_offered(
    database: Database, connection: Connection
) -> None:
    await start_worker(connection)
    async with console(database.settings, (120, 40), read_only=True) as pilot:
        await pilot.press("5")
        await until_text(pilot, "build-7")
        for key in ("s", "plus", "x", "X", "p", "P", "S", "u", "n", "M"):
            assert not pilot.app.screen.active_bindings[key].enabled
            await pilot.press(key)
            await until_text(pilot, "Read-only")
            pilot.app.clear_notifications()
            await until_shown(pilot, lambda text: "Read-only" not in text)
        assert isinstance(pilot.app.screen, WorkersScreen)


async def test_workers_are_paused_and_go_on(database: Database) -> None:
    async with console(database.settings, (120, 40)) as pilot:
        await pilot.press("5")
        await until_text(pilot, "This console")
        await pilot.press("P")
        await until_asked(pilot)
        await pilot.press("y")
        await until_shown(pilot, lambda text: OPERATOR in text and "Workers (5), P" in text)
        await pilot.press("P")
        await until_asked(pilot)
        await pilot.press("y")
        await until_shown(pilot, lambda text: "Workers (5), P" not in text)


async def test_one_worker_is_paused_and_goes_on(database: Database, connection: Connection) -> None:
    first, second = await start_worker(connection), await start_worker(connection)
    paused = "SELECT array_agg(paused_by ORDER BY started_at) = $1::text[] FROM embedq_workers"
    async with console(database.settings, (120, 40)) as pilot:
        await pilot.press("5")
        table = pilot.app.screen.query_one(KeyedTable)
        await until(lambda: table.keys == (str(first), str(second)))
        await pilot.press("down", "p")
        await until_true(connection, paused, [None, OPERATOR])
        await until_text(pilot, "p: resume")
        await pilot.press("p")
        await until_true(connection, paused, [None, None])


async def test_a_worker_in_trouble_is_seen_among_many_and_those_without_room_are_counted(
    database: Database, connection: Connection
) -> None:
    for number in range(12):
        worker = await start_worker(connection)
        await connection.execute(
            "UPDATE embedq_workers SET host = 'w-' || $2::int, host_key = $2, note = $3 WHERE id = $1",
            worker,
            number,
            "database: disk full" if number == 5 else "",
        )
    async with console(database.settings, (80, 24)) as pilot:
        await until_shown(pilot, lambda text: "w-5/" in text and "disk full" in text)
        listed = sum(f"w-{number}/" in shown(pilot) for number in range(12))
        await until_text(pilot, f"and {12 - listed} more")
        await pilot.press("5")
        await until_shown(pilot, lambda text: re.search(r"w-5/4711 +idle", text) is not None)


async def test_a_worker_that_does_not_answer_is_shut_down_at_once_all_the_same(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "FORCED_S", -database.settings.beat_every_s)  # does not wait
    deaf, other = await start_worker(connection), await start_worker(connection)
    await connection.execute("UPDATE embedq_workers SET host = 'other' WHERE id = $1", other)
    mine, others = await queue_tasks(connection, await add_articles(connection, ["deaf", "other"]))
    await let_hold(connection, deaf, mine)
    await let_hold(connection, other, others)
    async with console(database.settings, (120, 40)) as pilot:
        await pilot.press("5")
        table = pilot.app.screen.query_one(KeyedTable)
        await until(lambda: len(table.keys) == 2)
        await pilot.press(*["down"] * table.keys.index(str(deaf)), "X")
        await until_asked(pilot)
        await pilot.press("y")
        await until_true(connection, "SELECT state = 'dead' FROM embedq_workers WHERE id = $1", deaf)
        await until_true(connection, "SELECT status = 'pending' FROM embedding_tasks WHERE id = $1", mine)
    assert (
        await connection.fetchval("SELECT status FROM embedding_tasks WHERE id = $1", others) == "processing"
    )
    assert await connection.fetchval("SELECT state FROM embedq_workers WHERE id = $1", other) == "running"


async def test_what_another_operator_paused_a_moment_ago_is_not_paused_again(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Look, "pause_s", 60.0)  # what the screen shows stays behind
    async with console(database.settings, (120, 40)) as pilot:
        await pilot.press("5")
        await until_text(pilot, "This console")
        await command(connection, Order.PAUSE, "other@there")
        await pilot.press("P")
        await until_asked(pilot)
        await pilot.press("y")
        await until_true(connection, "SELECT paused_at IS NULL FROM embedq_control")


async def test_a_provider_that_is_held_is_tried_at_once(database: Database, connection: Connection) -> None:
    worker = await start_worker(connection)
    await connection.execute(
        """INSERT INTO embedq_providers (key, state, reason, advice, retry_at)
           SELECT provider, 'open', 'refused', 'mend it', now() + interval '5 min' FROM embedq_workers"""
    )
    async with console(database.settings, (120, 40)) as pilot:
        await until_text(pilot, "retry in")
        await pilot.press("exclamation_mark")
        await until_text(pilot, "mend it")
        await pilot.press("n")
        await until_true(connection, "SELECT retry_at <= now() FROM embedq_providers")
        await until_text(pilot, "Probing unavailable")
        await connection.execute(
            "SELECT embedq_provider_works(provider) FROM embedq_workers WHERE id = $1", worker
        )
        await until_text(pilot, "is available again")
        await pilot.press("escape", "n")
        await until_text(pilot, "Every provider is available")


async def test_why_a_worker_is_idle_can_be_read_in_full_and_what_it_holds_is_one_key_away(
    database: Database, connection: Connection
) -> None:
    worker = await start_worker(connection)
    held, _ = await queue_tasks(connection, await add_articles(connection, ["held", "waiting"]))
    await let_hold(connection, worker, held)
    note = f"provider: {'busy ' * 20}to the end"
    await connection.execute("UPDATE embedq_workers SET note = $1, version = '0.0.7'", note)
    async with console(database.settings, (80, 24)) as pilot:
        await pilot.press("5")
        await until_shown(
            pilot, lambda text: "to the end" in text and "0.0.7" in text and str(worker) in text
        )
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, TasksScreen))
        tasks = pilot.app.screen.query_one(KeyedTable)
        await until(lambda: tasks.keys == (str(held),))


async def test_which_worker_died_what_it_held_and_what_became_of_that_is_one_key_away(
    database: Database, connection: Connection
) -> None:
    worker = await start_worker(connection, silent="1 h")
    task, _ = await queue_tasks(connection, await add_articles(connection, ["held", "waiting"]))
    await let_hold(connection, worker, task)
    await connection.execute(
        "UPDATE embedq_workers SET state = 'dead', stopped_at = now(), note = 'process is gone'"
    )
    async with console(database.settings, (80, 24)) as pilot:
        await pilot.press("5")
        await until_shown(
            pilot, lambda text: "process is gone" in text and "1 not yet" in text and str(worker) in text
        )
        await pilot.press("plus", "x")  # there is nobody to hear it
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, TasksScreen))
        tasks = pilot.app.screen.query_one(KeyedTable)
        await until(lambda: tasks.keys == (str(task),))
        await connection.execute("SELECT * FROM embedq_rescue(45000, 1800000, 9)")
        await pilot.press("5")
        await until_shown(pilot, lambda text: "1 not yet" not in text and "taken back" in text)
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, AuditScreen))
        rows = pilot.app.screen.query_one(LogList)
        await until(lambda: [row.task_id for row in rows.items] == [None, task])


async def test_all_of_a_long_line_of_the_log_can_be_read_and_what_is_read_stays(database: Database) -> None:
    async with console(database.settings) as pilot:
        await pilot.press("5")
        log = cast(Console, pilot.app).desk.supervisor.log
        log.add(f"first {'word ' * 60}its end")
        await until_text(pilot, "its end")
        for number in range(200):
            log.add(f"line {number}")
        await until_text(pilot, "line 199")
        await pilot.resize_terminal(100, 40)
        await until_shown(pilot, lambda text: "line 199" in text and len(text.splitlines()) == 40)
        await pilot.resize_terminal(80, 20)
        await until_shown(pilot, lambda text: "line 199" in text and len(text.splitlines()) == 20)
        await pilot.press("tab", "g")
        await until_text(pilot, "first word")
        log.add("another")
        await until_shown(pilot, lambda text: "first word" in text and "another" not in text)
        await pilot.press("G")
        await until_text(pilot, "another")
