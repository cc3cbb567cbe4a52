"""How the console acts on tasks: what it asks, that it does exactly that, what it tells and takes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Button, Input, Static
from textual.worker import Worker

from embedq_tui.acts import Act, Actor
from embedq_tui.deeds import cancel, prioritise, reset, retry
from embedq_tui.link import STRIKES, WATCH_S, Link
from embedq_tui.screens.dialogs.choose import Choice, ask_choice, ask_text
from embedq_tui.screens.dialogs.confirm import Confirm
from embedq_tui.screens.dialogs.outcome import Tell
from embedq_tui.screens.dialogs.running import Running
from embedq_worker.actions import Outcome
from embedq_worker.configuration import load_settings
from embedq_worker.selection import TaskFilter
from tests.support.blocking import until_any_blocked
from tests.support.content import queued_articles, statuses
from tests.support.databases import Connection, Database
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until

BY = "ann@ops"
HOSTILE = "[/foo][@click=app.quit]x[red $error a[/ \x1b]52;c;aGk=\x07\u202e\u4e2d"
PENDING = TaskFilter(statuses=("pending",))

S = TypeVar("S", bound=Screen[Any])
T = TypeVar("T")


class Bench(App[None]):
    """An application that does nothing but to act."""

    def __init__(self, database: Database, **values: Any) -> None:
        super().__init__()
        self.link = Link(database.settings)
        self.actor = Actor(self, self.link, BY, **values)
        self.told: list[str] = []

    def notify(self, message: str, **values: Any) -> None:
        """Keep what is told in passing."""
        self.told.append(message)
        super().notify(message, **values)

    def begin(self, work: Coroutine[Any, Any, T]) -> Worker[T]:
        """Do something as a screen would."""
        return self.run_worker(work, exit_on_error=False)

    async def dialog(self, kind: type[S]) -> S:
        """The dialog that is shown, as soon as it takes keys."""
        await until(lambda: isinstance(self.screen, kind) and self.screen.focused is not None)
        assert isinstance(self.screen, kind)
        return self.screen


@asynccontextmanager
async def bench(
    database: Database, size: tuple[int, int] = (80, 24), **values: Any
) -> AsyncIterator[tuple[Bench, Pilot[None]]]:
    """The application on its terminal."""
    app = Bench(database, **values)
    async with app.link.opened(), app.run_test(size=size, notifications=True, tooltips=True) as pilot:
        yield app, pilot


def said(screen: Screen[Any]) -> str:
    """Everything a dialog says."""
    texts = [str(found.content) for found in screen.query(Static)]
    return "\n".join([*texts, *(str(found.label) for found in screen.query(Button))])


async def fail(connection: Connection, count: int, *, error: str = "boom") -> list[UUID]:
    """Tasks that failed."""
    articles = await queued_articles(connection, count, slug=f"failed-{uuid4().hex[:6]}")
    rows = await connection.fetch(
        """UPDATE embedding_tasks SET status = 'failed', error_message = $2, completed_at = now()
           WHERE article_id = ANY ($1::int[]) RETURNING id""",
        articles,
        error,
    )
    return [row["id"] for row in rows]


@asynccontextmanager
async def held_up(database: Database) -> AsyncIterator[None]:
    """Inside the block nobody can change the task of the eighth article: its batch waits."""
    holder = await database.connect()
    await holder.execute(
        """CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END $$;
           CREATE TRIGGER wait BEFORE UPDATE ON embedding_tasks FOR EACH ROW
           WHEN (OLD.slug = 'article-7') EXECUTE FUNCTION wait();
           SELECT pg_advisory_lock(7)"""
    )
    yield
    await holder.close()


# -- the question


async def test_the_question_starts_on_no(database: Database, connection: Connection) -> None:
    await fail(connection, 3)
    async with bench(database) as (app, pilot):
        for keys in (["enter"], ["escape"], ["n"], ["tab", "shift+tab", "enter"], ["right", "left", "enter"]):
            work = app.begin(app.actor.act(retry(TaskFilter(statuses=("failed",)))))
            await app.dialog(Confirm)
            await pilot.press(*keys)
            assert await work.wait() is None
    assert await statuses(connection) == {"failed": 3}


async def test_what_is_done_is_what_was_asked(database: Database, connection: Connection) -> None:
    await fail(connection, 7, error="boom 1")
    await fail(connection, 2, error="other")
    async with bench(database) as (app, pilot):
        work = app.begin(app.actor.act(retry(TaskFilter(statuses=("failed",), error="boom"))))
        question = said(await app.dialog(Confirm))
        assert "7" in question
        assert app.link.place in question
        await fail(connection, 4, error="boom later")
        await pilot.press("y", "y")
        outcome = await work.wait()
    assert isinstance(outcome, Outcome)
    assert (outcome.changed, len(outcome.ids)) == (7, 7)
    assert await statuses(connection) == {"pending": 7, "failed": 6}
    assert await connection.fetchval(
        """SELECT count(*) FROM embedding_audit_logs
           WHERE operation_id = $1 AND task_id IS NULL AND metadata ->> 'operator' = 'ann'""",
        str(outcome.operation_id),
    )


async def test_one_task_is_done_or_told_why_not(database: Database, connection: Connection) -> None:
    one = TaskFilter(ids=tuple(await fail(connection, 1)))
    async with bench(database) as (app, _):
        assert await app.begin(app.actor.act(reset(one, sure=True))).wait() is None
        assert len(app.told) == 1
        assert await app.begin(app.actor.act(retry(one))).wait() is not None
        assert len(app.told) == 2
    assert await statuses(connection) == {"pending": 1}


async def test_a_sweep_takes_the_number_and_comes_back(database: Database, connection: Connection) -> None:
    await queued_articles(connection, 12)
    async with bench(database) as (app, pilot):
        work = app.begin(app.actor.act(cancel(PENDING)))
        question = await app.dialog(Confirm)
        assert isinstance(question.focused, Input)
        await pilot.press("enter", "y", "enter", "backspace", "1", "3", "enter")
        await pilot.click("#YES")
        assert app.screen is question
        await pilot.press("backspace", "2", "enter")
        outcome = await work.wait()
        assert outcome is not None
        assert outcome.changed == 12
        assert await statuses(connection) == {"failed": 12}
        last = app.actor.last_undoable
        assert last is not None
        assert last.operation_id == outcome.operation_id

        await connection.execute(
            """UPDATE embedding_tasks SET status = 'completed', completed_at = now()
               WHERE id = ANY ($1::uuid[])""",
            outcome.ids[:2],
        )
        undoing = app.begin(app.actor.undo_last())
        question = await app.dialog(Confirm)
        assert "10" in said(question)
        await pilot.press("y")
        undone = await undoing.wait()
        assert undone is not None
        assert (undone.changed, undone.kept) == (10, 2)
        assert await statuses(connection) == {"completed": 2, "pending": 10}
        assert app.actor.last_undoable is None
        assert await app.begin(app.actor.undo_last()).wait() is None


async def test_tasks_in_hand_are_counted_apart(database: Database, connection: Connection) -> None:
    await queued_articles(connection, 9)
    await connection.execute(
        """UPDATE embedding_tasks SET status = 'processing', processed_at = now()
           WHERE id IN (SELECT id FROM embedding_tasks LIMIT 4)"""
    )
    async with bench(database) as (app, pilot):
        work = app.begin(app.actor.act(cancel(TaskFilter())))
        question = said(await app.dialog(Confirm))
        assert all(number in question for number in "945")
        await pilot.press("escape")
        await work.wait()


# -- on the way


async def test_stopped_half_way_it_tells_what_was_done(database: Database, connection: Connection) -> None:
    await queued_articles(connection, 20)
    async with bench(database, batch_size=5, show_after_s=0.0) as (app, pilot):
        async with held_up(database):
            work = app.begin(app.actor.act(prioritise(PENDING, "high", sure=True)))
            await until_any_blocked(connection)
            await until(lambda: isinstance(app.screen, Running) and "5 of 20" in said(app.screen))
            await pilot.press("escape", "escape", "ctrl+c")
            assert isinstance(app.screen, Running)
        assert "10 of 20" in said(await app.dialog(Tell))
        await pilot.press("enter")
        outcome = await work.wait()
        assert outcome is not None
        assert outcome.changed == 10
        assert app.actor.last_undoable is not None
    counted = await connection.fetchval("SELECT count(*) FROM embedding_tasks WHERE priority = 'high'")
    assert counted == 10


async def test_an_error_half_way_is_told(database: Database, connection: Connection) -> None:
    await queued_articles(connection, 12)
    await connection.execute(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'no: %', E'[/foo] [@click=app.quit]x[/] \\x1b]52;c;aGk=\\x07'; END $$;
           CREATE TRIGGER refuse BEFORE UPDATE ON embedding_tasks FOR EACH ROW
           WHEN (OLD.slug = 'article-11') EXECUTE FUNCTION refuse()"""
    )
    async with bench(database, (40, 8), batch_size=5) as (app, pilot):
        work = app.begin(app.actor.act(prioritise(PENDING, "high", sure=True)))
        told = said(await app.dialog(Tell))
        assert "[/foo]" in told
        assert "\x1b" not in told
        await pilot.press("enter")
        outcome = await work.wait()
        assert outcome is not None
        assert outcome.changed == 10


async def test_a_lost_connection_is_told_and_the_next_one_serves(
    database: Database, connection: Connection
) -> None:
    await queued_articles(connection, 12)
    deed = prioritise(PENDING, "high", sure=True)
    async with bench(database, batch_size=5) as (app, pilot):
        async with held_up(database):
            work = app.begin(app.actor.act(deed))
            await until_any_blocked(connection)
            await connection.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'"""
            )
            assert "5 of 12" in said(await app.dialog(Tell))
            await pilot.press("enter")
            outcome = await work.wait()
        assert outcome is not None
        assert outcome.changed == 5
        again = await app.begin(app.actor.act(deed)).wait()
        assert again is not None
        assert again.changed == 7


@pytest.mark.slow
async def test_a_connection_that_died_in_silence_is_noticed_soon(
    database: Database, connection: Connection
) -> None:
    await queued_articles(connection, 12)
    deed = prioritise(PENDING, "high", sure=True)
    async with TcpProxy(database.url) as proxy, bench(database, batch_size=5) as (app, _):
        app.actor.link = Link(load_settings(database_url=proxy.url))
        async with app.actor.link.opened():
            async with held_up(database):
                app.begin(app.actor.act(deed))
                await until_any_blocked(connection)
                await asyncio.sleep(3 * WATCH_S)  # what takes long is waited for as long as the server works
                assert isinstance(app.screen, Running)
                proxy.swallow()  # nobody is told
            began = time.monotonic()
            await until(lambda: isinstance(app.screen, Tell), within_s=30)
            assert time.monotonic() - began < (STRIKES + 3) * WATCH_S
            assert "5 of 12" in said(await app.dialog(Tell))


async def test_without_a_database_nothing_begins(database: Database) -> None:
    nowhere = database.settings.model_copy(update={"port": 1, "database_url": None, "host": "127.0.0.1"})
    async with bench(database) as (app, _):
        app.actor.link = Link(nowhere)
        async with app.actor.link.opened():
            assert await app.begin(app.actor.act(retry(TaskFilter()))).wait() is None
        assert len(app.told) == 1


# -- outcomes


async def test_each_task_that_was_left_out_is_told(database: Database, connection: Connection) -> None:
    [failed] = await fail(connection, 1)
    await queued_articles(connection, 1)
    waiting = await connection.fetchval("SELECT id FROM embedding_tasks WHERE id <> $1", failed)
    unknown = uuid4()
    names = {failed: "good-one", waiting: f"waiting {HOSTILE}"}
    async with bench(database) as (app, pilot):
        work = app.begin(app.actor.act(retry(TaskFilter(ids=(failed, waiting, unknown)), names=names)))
        await app.dialog(Confirm)
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


def screen_text(app: App[Any]) -> str:
    """What stands on the terminal."""
    strips = app.screen._compositor.render_strips(app.size)
    return "\n".join(strip.text for strip in strips)


async def test_hostile_text_is_text(database: Database, connection: Connection) -> None:
    await fail(connection, 2)
    await connection.execute("UPDATE embedding_tasks SET slug = $1", HOSTILE)
    wanted = TaskFilter(statuses=("failed",), slug="[@click=app.quit]x[red $error a[/")
    async with bench(database) as (app, pilot):
        work = app.begin(app.actor.act(retry(wanted, scope=f"tasks of {HOSTILE}")))
        question = await app.dialog(Confirm)
        for size in ((80, 24), (20, 5), (1, 1), (0, 0), (200, 60)):
            await pilot.resize_terminal(*size)
            assert "\x1b" not in screen_text(app) + said(question)
        assert HOSTILE[:20] in screen_text(app)
        await pilot.press("y")
        outcome = await work.wait()
        assert outcome is not None
        assert outcome.changed == 2
        await pilot.pause()


@pytest.mark.parametrize("failing", [False, True])
async def test_in_stages(database: Database, connection: Connection, failing: bool) -> None:
    await fail(connection, 30)
    worker = asyncio.ensure_future(end_tasks(await database.connect(), failing=failing))
    async with bench(database) as (app, pilot):
        work = app.begin(app.actor.act(retry(TaskFilter(statuses=("failed",)))))
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


async def end_tasks(connection: Connection, *, failing: bool) -> None:
    """End what is pending, for ever, as a worker would."""
    while True:
        await connection.execute(
            """UPDATE embedding_tasks SET status = $1, completed_at = clock_timestamp(), error_message = 'x'
               WHERE status = 'pending'""",
            "failed" if failing else "completed",
        )
        await asyncio.sleep(0.01)


# -- the rest


async def test_read_only_refuses(database: Database, connection: Connection) -> None:
    await fail(connection, 1)
    async with bench(database, read_only=lambda: "a replica [/foo]") as (app, pilot):
        assert await app.begin(app.actor.act(retry(TaskFilter()))).wait() is None
        assert await app.begin(app.actor.undo(Act(uuid4(), "12 tasks cancelled"))).wait() is None
        assert len(app.told) == 2
        assert "[/foo]" in app.told[0]
        await pilot.pause()
    assert await statuses(connection) == {"failed": 1}


async def test_a_dialog_does_not_outlive_who_asked(database: Database, connection: Connection) -> None:
    await fail(connection, 2)
    async with bench(database) as (app, pilot):
        below = app.screen
        work = app.begin(app.actor.act(retry(TaskFilter())))
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
        choosing = app.begin(ask_choice(app, "Priority of [/foo]", choices, start=1))
        await until(lambda: app.screen.focused is not None)
        await pilot.press("j", "enter")
        assert await choosing.wait() == "low"

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
