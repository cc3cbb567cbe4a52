"""Requests at the console: what is asked, that exactly this is done, what is told and taken back."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from uuid import uuid4

import pytest
from textual.app import App
from textual.screen import Screen
from textual.widgets import Input

from embedq_tui.dialogs.choose import Choice, ask_choice, ask_text
from embedq_tui.dialogs.confirm import Confirm
from embedq_tui.dialogs.outcome import Tell
from embedq_tui.dialogs.running import Running
from embedq_tui.execution.request import cancel, prioritise, reset, retry, retry_waiting
from embedq_tui.execution.undo import UndoableOperation
from embedq_worker.actions.tasks import Outcome
from embedq_worker.queue.wanted import TaskFilter
from tests.console.executing import HOSTILE, PENDING, bench, said
from tests.support.content import end_pending_tasks, failed_tasks, queued_articles, statuses
from tests.support.databases import Connection, Database
from tests.support.waiting import until

# -- the question


async def test_the_question_starts_on_no(database: Database, connection: Connection) -> None:
    await failed_tasks(connection, 3)
    async with bench(database) as (app, pilot):
        for keys in (["enter"], ["escape"], ["n"], ["tab", "shift+tab", "enter"], ["right", "left", "enter"]):
            work = app.begin(app.executor.carry_out(retry(TaskFilter(statuses=("failed",)))))
            await app.dialog(Confirm)
            await pilot.press(*keys)
            assert await work.wait() is None
    assert await statuses(connection) == {"failed": 3}


async def test_what_is_done_is_what_was_asked(database: Database, connection: Connection) -> None:
    await failed_tasks(connection, 7, error="boom 1")
    await failed_tasks(connection, 2, error="other")
    async with bench(database) as (app, pilot):
        work = app.begin(app.executor.carry_out(retry(TaskFilter(statuses=("failed",), error="boom"))))
        question = said(await app.dialog(Confirm))
        assert "7" in question
        assert app.link.place in question
        await failed_tasks(connection, 4, error="boom later")
        await pilot.press("y", "y")
        outcome = await work.wait()
    assert isinstance(outcome, Outcome)
    assert (outcome.changed, len(outcome.ids)) == (7, 7)
    assert str(outcome.operation_id) in app.told[-1]
    assert await statuses(connection) == {"pending": 7, "failed": 6}
    assert await connection.fetchval(
        """SELECT count(*) FROM embedding_audit_logs
           WHERE operation_id = $1 AND task_id IS NULL AND metadata ->> 'operator' = 'ann'""",
        str(outcome.operation_id),
    )


async def test_one_task_is_done_or_told_why_not(database: Database, connection: Connection) -> None:
    one = TaskFilter(ids=tuple(await failed_tasks(connection, 1)))
    async with bench(database) as (app, _):
        outcome = await app.begin(app.executor.carry_out(reset(one))).wait()
        assert outcome is not None
        assert not outcome.changed
        assert len(app.told) == 1
        assert await app.begin(app.executor.carry_out(retry(one))).wait() is not None
        assert len(app.told) == 2
    assert await statuses(connection) == {"pending": 1}


async def test_a_sweep_takes_the_number_and_comes_back(database: Database, connection: Connection) -> None:
    await queued_articles(connection, 12)
    async with bench(database) as (app, pilot):
        work = app.begin(app.executor.carry_out(cancel(PENDING)))
        question = await app.dialog(Confirm)
        assert isinstance(question.focused, Input)
        assert not question.query("#STAGED")  # which only a retry has
        await pilot.press("enter", "y", "enter", "backspace", "1", "3", "enter")
        await pilot.click("#YES")
        assert app.screen is question
        await pilot.press("backspace", "2")
        await pilot.click("#YES")
        outcome = await work.wait()
        assert outcome is not None
        assert outcome.changed == 12
        assert await statuses(connection) == {"failed": 12}
        last = app.history.last
        assert last is not None
        assert last.id == outcome.operation_id

        await connection.execute(
            """UPDATE embedding_tasks SET status = 'completed', completed_at = now()
               WHERE id = ANY ($1::uuid[])""",
            outcome.ids[:2],
        )
        undoing = app.begin(app.history.undo_last())
        question = await app.dialog(Confirm)
        assert "10" in said(question)
        await pilot.press("y")
        undone = await undoing.wait()
        assert undone is not None
        assert (undone.changed, undone.kept) == (10, 2)
        assert await statuses(connection) == {"completed": 2, "pending": 10}
        assert app.history.last is None
        assert await app.begin(app.history.undo_last()).wait() is None


async def test_what_can_no_longer_be_taken_back_gives_way_to_what_was_done_before(database: Database) -> None:
    async with bench(database) as (app, _):
        app.history.remember(UndoableOperation(uuid4(), "12 tasks cancelled"))
        assert await app.begin(app.history.undo_last()).wait() is None
        assert app.history.last is None


async def test_tasks_in_hand_are_counted_apart(database: Database, connection: Connection) -> None:
    await queued_articles(connection, 9)
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'processing', processed_at = now()
           WHERE id IN (SELECT id FROM embedding_tasks LIMIT 4)"""
    )
    async with bench(database) as (app, pilot):
        work = app.begin(app.executor.carry_out(cancel(TaskFilter())))
        question = said(await app.dialog(Confirm))
        assert ["5", "4"] in [re.findall(r"\d+", line) for line in question.splitlines()]
        await pilot.press("escape")
        await work.wait()


async def test_only_tasks_that_will_change_are_named(database: Database, connection: Connection) -> None:
    await queued_articles(connection, 8)
    await connection.execute(
        """UPDATE embedding_tasks SET priority = 'high' WHERE slug IN ('article-0', 'article-1');
           UPDATE embedding_tasks SET scheduled_at = now() + interval '1 h'
           WHERE slug IN ('article-6', 'article-7')"""
    )
    async with bench(database) as (app, pilot):
        for request, affected in ((prioritise(PENDING, "high"), "234567"), (retry_waiting(PENDING), "67")):
            work = app.begin(app.executor.carry_out(request))
            named = re.findall(r"article-(\d)", said(await app.dialog(Confirm)))
            assert named
            assert {*named} <= {*affected}
            await pilot.press("escape")
            await work.wait()


# -- outcomes


async def test_each_task_that_was_left_out_is_told(database: Database, connection: Connection) -> None:
    [failed] = await failed_tasks(connection, 1)
    await queued_articles(connection, 1)
    waiting = await connection.fetchval("SELECT id FROM embedding_tasks WHERE id <> $1", failed)
    unknown = uuid4()
    names = {failed: "good-one", waiting: f"waiting {HOSTILE}"}
    async with bench(database) as (app, pilot):
        work = app.begin(
            app.executor.carry_out(retry(TaskFilter(ids=(failed, waiting, unknown)), names=names))
        )
        question = said(await app.dialog(Confirm))
        assert ["2"] in [re.findall(r"\d+", line) for line in question.splitlines()]  # cannot be retried
        await pilot.press("tab", "enter")
        screen = await app.dialog(Tell)
        shown = screen_text(app)
        assert "waiting [/foo]" in shown
        assert str(unknown) in shown
        assert "good-one" not in shown
        await pilot.press("enter")
        outcome = await work.wait()
        assert outcome is not None
        assert outcome.ids == [failed]
        assert app.screen is not screen

        names = {failed: "retried", waiting: "waiting"}  # both are pending now
        work = app.begin(app.executor.carry_out(reset(TaskFilter(ids=tuple(names)), names=names)))
        await app.dialog(Tell)
        shown = screen_text(app)
        assert all(name in shown for name in names.values())
        await pilot.press("enter")
        outcome = await work.wait()
        assert outcome is not None
        assert outcome.ids == []


async def test_tasks_of_a_status_that_is_never_acted_on_are_not_said_to_be_none(
    database: Database, connection: Connection
) -> None:
    async with bench(database) as (app, _):
        work = app.begin(app.executor.carry_out(cancel(TaskFilter(statuses=("completed",)))))
        outcome = await work.wait()
        assert outcome is not None
        assert not outcome.changed
        [told] = app.told
        assert "completed" in told
        assert "0" not in told


def screen_text(app: App[Any]) -> str:
    """What stands on the terminal."""
    strips = app.screen._compositor.render_strips(app.size)
    return "\n".join(strip.text for strip in strips)


async def test_hostile_text_is_text(database: Database, connection: Connection) -> None:
    await failed_tasks(connection, 2)
    await connection.execute("UPDATE embedding_tasks SET slug = $1", HOSTILE)
    wanted = TaskFilter(statuses=("failed",), slug="[@click=app.quit]x[red $error a[/")
    async with bench(database) as (app, pilot):
        work = app.begin(app.executor.carry_out(retry(wanted, scope=f"tasks of {HOSTILE}")))
        question = await app.dialog(Confirm)
        for size in ((80, 24), (20, 5), (1, 1), (0, 0), (200, 60)):
            await pilot.resize_terminal(*size)
            assert "\x1b" not in screen_text(app) + said(question)
        await until(lambda: HOSTILE[:20] in screen_text(app))
        await pilot.press("y")
        outcome = await work.wait()
        assert outcome is not None
        assert outcome.changed == 2
        await pilot.pause()


@pytest.mark.parametrize("failing", [False, True])
async def test_in_stages(database: Database, connection: Connection, failing: bool) -> None:
    await failed_tasks(connection, 30)
    worker = asyncio.ensure_future(end_pending_tasks(await database.connect(), failing=failing))
    async with bench(database) as (app, pilot):
        work = app.begin(app.executor.carry_out(retry(TaskFilter(statuses=("failed",)))))
        await app.dialog(Confirm)
        await pilot.press("s")
        if failing:
            told = said(await app.dialog(Tell))
            assert "10" in told
            assert "20" in told
            await pilot.press("enter")
        outcome = await work.wait()
        assert outcome is not None
        assert outcome.changed == (10 if failing else 30)
    worker.cancel()


async def test_a_stage_tells_what_it_waits_for(database: Database, connection: Connection) -> None:
    await failed_tasks(connection, 30)
    async with bench(database, idle=lambda: "gone fishing", show_after_s=0) as (app, pilot):
        work = app.begin(app.executor.carry_out(retry(TaskFilter(statuses=("failed",)))))
        assert "gone fishing" in said(await app.dialog(Confirm))
        await pilot.press("s")
        running = await app.dialog(Running)
        await until(lambda: "gone fishing" in said(running))
        await pilot.press("escape")
        await app.dialog(Tell)
        await pilot.press("enter")
        outcome = await work.wait()
    assert outcome is not None
    assert outcome.changed == 10


# -- the rest


async def test_read_only_refuses(database: Database, connection: Connection) -> None:
    await failed_tasks(connection, 1)
    async with bench(database, read_only=lambda: f"a replica {HOSTILE}") as (app, pilot):
        assert await app.begin(app.executor.carry_out(retry(TaskFilter()))).wait() is None
        assert (
            await app.begin(app.history.undo(UndoableOperation(uuid4(), "12 tasks cancelled"))).wait() is None
        )
        assert len(app.told) == 2
        assert "[/foo]" in app.told[0]
        assert "\x1b" not in app.told[0]
        await pilot.pause()
    assert await statuses(connection) == {"failed": 1}


async def test_a_dialog_does_not_outlive_who_asked(database: Database, connection: Connection) -> None:
    await failed_tasks(connection, 2)
    async with bench(database) as (app, pilot):
        below = app.screen
        work = app.begin(app.executor.carry_out(retry(TaskFilter())))
        await app.dialog(Confirm)
        above: Screen[None] = Screen()
        await app.push_screen(above)
        work.cancel()
        await pilot.pause()
        assert app.screen is above
        await app.pop_screen()
        await until(lambda: app.screen is below)
    assert await statuses(connection) == {"failed": 2}


async def test_small_questions(database: Database) -> None:
    choices = [Choice("high", "high", "[/foo]"), Choice("normal", "[red"), Choice("low", "low \x1b[31m")]
    async with bench(database) as (app, pilot):
        for keys, chosen in (("j", "low"), ("k", "high"), ("jk", "normal"), ("", "normal")):
            choosing = app.begin(ask_choice(app, "Priority of [/foo]", choices, start=1))
            await until(lambda: app.screen.focused is not None)
            await pilot.press(*keys, "enter")
            assert await choosing.wait() == chosen

        writing = app.begin(
            ask_text(app, "[/a", value="old", complaint=lambda text: "" if text == "new" else f"[/{text}")
        )
        await until(lambda: app.screen.focused is not None)
        await pilot.press("enter")
        assert "[/old" in said(app.screen)
        await pilot.press("home", "ctrl+k", *" new", "enter")
        assert await writing.wait() == "new"

        given_up = app.begin(ask_text(app, "Name"))
        await until(lambda: app.screen.focused is not None)
        await pilot.press("escape")
        assert await given_up.wait() is None
