"""What the console tells where a request is stopped, fails or loses its connection on the way."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from embedq_tui.dialogs.outcome import Tell
from embedq_tui.dialogs.running import Running
from embedq_tui.execution.request import Safeguard, prioritise, retry
from embedq_tui.live.link import WATCH_S, Link
from embedq_worker.configuration.loading import load_settings
from embedq_worker.database.line_watch import LOOKS
from embedq_worker.queue.wanted import TaskFilter
from tests.console.executing import PENDING, bench, held_up, said
from tests.support.blocking import until_any_blocked
from tests.support.content import queued_articles
from tests.support.databases import Connection, Database
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until

RAISE = replace(prioritise(PENDING, "high"), safeguard=Safeguard.NONE)


async def test_stopped_half_way_it_tells_what_was_done(database: Database, connection: Connection) -> None:
    await queued_articles(connection, 20)
    async with bench(database, batch_size=5, show_after_s=0.0) as (app, pilot):
        async with held_up(database):
            work = app.begin(app.executor.carry_out(RAISE))
            await until_any_blocked(connection)
            await until(lambda: isinstance(app.screen, Running) and "5 of 20" in said(app.screen))
            await pilot.press("escape", "escape", "ctrl+c")
            assert isinstance(app.screen, Running)
        assert "10 of 20" in said(await app.dialog(Tell))
        await pilot.press("enter")
        outcome = await work.wait()
        assert outcome is not None
        assert outcome.changed == 10
        assert app.history.last is not None
    counted = await connection.fetchval("SELECT count(*) FROM embedding_tasks WHERE priority = 'high'")
    assert counted == 10


@pytest.mark.parametrize("stopped", [False, True], ids=["unseen", "after a stop"])
async def test_when_the_console_leaves_its_database_the_batch_under_way_is_the_last(
    database: Database, connection: Connection, stopped: bool
) -> None:
    await queued_articles(connection, 20)
    async with bench(database, batch_size=5, show_after_s=0.0 if stopped else 60.0) as (app, pilot):
        async with held_up(database):
            work = app.begin(app.executor.carry_out(RAISE))
            await until_any_blocked(connection)
            if stopped:
                await until(lambda: isinstance(app.screen, Running))
                await pilot.press("escape")
            work.cancel()
            await pilot.pause()
            assert not work.is_finished
        await until(lambda: work.is_finished)
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
        work = app.begin(app.executor.carry_out(RAISE))
        dialog = await app.dialog(Tell)
        told = said(dialog)
        assert "[/foo]" in told
        assert "\x1b" not in told
        text = dialog.query_one("#text")  # taller than the terminal
        await pilot.press("down", "pagedown", "up")
        await until(lambda: text.scroll_y == text.max_scroll_y - 1)
        await pilot.press("enter")
        outcome = await work.wait()
        assert outcome is not None
        assert outcome.changed == 10
        assert app.history.last is not None


async def test_a_lost_connection_is_told_and_the_next_one_serves(
    database: Database, connection: Connection
) -> None:
    await queued_articles(connection, 12)
    async with bench(database, batch_size=5) as (app, pilot):
        async with held_up(database):
            work = app.begin(app.executor.carry_out(RAISE))
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
        again = await app.begin(app.executor.carry_out(RAISE)).wait()
        assert again is not None
        assert again.changed == 7


@pytest.mark.slow
async def test_a_connection_that_died_in_silence_is_noticed_soon(
    database: Database, connection: Connection
) -> None:
    await queued_articles(connection, 12)
    async with TcpProxy(database.url) as proxy, bench(database, batch_size=5) as (app, _):
        app.executor.link = Link(load_settings(database_url=proxy.url))
        async with app.executor.link.opened():
            async with held_up(database):
                app.begin(app.executor.carry_out(RAISE))
                await until_any_blocked(connection)
                await asyncio.sleep(3 * WATCH_S)  # what takes long is waited for as long as the server works
                assert isinstance(app.screen, Running)
                proxy.swallow()  # nobody is told
            began = time.monotonic()
            await until(lambda: isinstance(app.screen, Tell), within_s=30)
            assert time.monotonic() - began < (LOOKS + 3) * WATCH_S
            assert "5 of 12" in said(await app.dialog(Tell))


async def test_without_a_database_nothing_begins(database: Database) -> None:
    nowhere = load_settings(database_url="postgresql://127.0.0.1:1/nowhere")
    async with bench(database) as (app, _):
        app.executor.link = Link(nowhere)
        async with app.executor.link.opened():
            assert await app.begin(app.executor.carry_out(retry(TaskFilter()))).wait() is None
        [told] = app.told
        assert app.executor.link.place in told  # and not the name of an error of Python's
