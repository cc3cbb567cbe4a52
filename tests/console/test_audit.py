"""The audit screen: it follows, stays where it is looked at, loses no row, and shows what is in one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from embedq_tui.filters.audit_filter import Wanted
from embedq_tui.screens.audit import roll
from embedq_tui.screens.audit.questions import FollowLog, OlderRows, OnePage
from embedq_tui.screens.audit.render import LONGEST
from embedq_tui.screens.audit.roll import PAGE, AuditRoll
from embedq_tui.screens.audit.screen import AuditScreen
from embedq_worker.actions.tasks import CANCEL, PRIORITISE, Action, Run, carry_out, plan
from embedq_worker.configuration.loading import load_settings
from embedq_worker.insights.audit import AuditPage, audit_page
from embedq_worker.queue.wanted import TaskFilter
from tests.console.running import (
    ConsolePilot,
    console,
    enter,
    go_to,
    shown,
    type_filter,
    until_shown,
    until_text,
)
from tests.support.content import add_articles, queue_tasks
from tests.support.databases import Connection, Database
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until

NASTY = "[/red] \x1b]52;c;aGk=\x07 \u202e [@click=app.quit]x[/] e\u0301\U0001f600"


async def log(connection: Connection, *messages: str, **columns: object) -> None:
    """Write rows, and tell of them."""
    values = {"level": "info", "category": "task_lifecycle", **columns}
    numbers = ", ".join(f"${n}" for n in range(2, len(values) + 2))
    await connection.execute(
        f"""INSERT INTO embedding_audit_logs (timestamp, message, {", ".join(values)})
            SELECT now() + place * interval '1 microsecond', message, {numbers}
            FROM unnest($1::text[]) WITH ORDINALITY AS m(message, place)""",
        messages,
        *values.values(),
    )
    await connection.execute("SELECT pg_notify('embedq_changes', 'tasks')")


async def shows_audit(pilot: ConsolePilot) -> AuditScreen:
    """Go there, and wait for the first look."""
    screen = await go_to(pilot, "6", AuditScreen)
    await until(lambda: screen._roll.begun)
    await pilot.pause()
    return screen


def under_cursor(screen: AuditScreen) -> str:
    row = screen._rows.current
    return row.event.message if row else ""


async def test_a_text_that_is_cut_in_the_details_says_so(database: Database, connection: Connection) -> None:
    await log(connection, "long", stack_trace="x" * 2 * LONGEST)
    async with console(database.settings) as pilot:
        screen = await shows_audit(pilot)
        await pilot.press("enter")
        await until(lambda: "long" in str(screen._fields.content))
        assert str(screen._fields.content).count("x" * LONGEST) == 1
        assert not str(screen._fields.content).endswith("x")


async def test_it_follows_and_stays_where_it_is_looked_at(database: Database, connection: Connection) -> None:
    await log(connection, *(f"row-{n:03}" for n in range(30)))
    await log(connection, "each step", level="debug")
    async with console(database.settings) as pilot:
        screen = await shows_audit(pilot)
        assert under_cursor(screen) == "row-029"
        assert "each step" not in shown(pilot)
        await log(connection, "row-030")
        await until_text(pilot, "row-030")
        assert under_cursor(screen) == "row-030"
        await pilot.press("k", "k", "k")
        assert under_cursor(screen) == "row-027"
        before = shown(pilot).splitlines()[3:-1]
        await log(connection, "row-031", "row-032")
        await until(lambda: len(screen._rows.items) == 33)
        await pilot.pause()
        assert shown(pilot).splitlines()[3:-1] == before
        assert under_cursor(screen) == "row-027"
        await pilot.press("G")
        await until_text(pilot, "row-032")
        await log(connection, "row-033")
        await until_text(pilot, "row-033")


async def test_rows_of_a_clock_that_was_set_back_are_counted(
    database: Database, connection: Connection
) -> None:
    async def at(offset: str, number: int) -> None:
        await connection.execute(
            """INSERT INTO embedding_audit_logs (level, category, message, timestamp)
               SELECT 'info', 'performance', 'row', now() + $1::text::interval
               FROM generate_series(1, $2::int)""",
            offset,
            number,
        )

    await at("1 h", 30)
    async with console(database.settings) as pilot:
        await shows_audit(pilot)
        await until_text(pilot, "following")
        await at("0 s", 7)
        await until_text(pilot, "7 new")
        await at("1 s", 2)
        await until_text(pilot, "9 new")
        await pilot.press("k", "G")  # has been there, and is back
        await until_text(pilot, "following")
        await at("2 s", 3)
        await until_text(pilot, "3 new")
        await at("2 h", 1)
        await until_text(pilot, "following")


async def test_frozen_it_counts_what_comes_and_then_goes_on(
    database: Database, connection: Connection
) -> None:
    await log(connection, "before")
    async with console(database.settings) as pilot:
        screen = await shows_audit(pilot)
        await until_text(pilot, "before")
        await pilot.press("f")
        await log(connection, *(f"meanwhile {n}" for n in range(7)))
        await until_text(pilot, "7 new")
        assert "meanwhile" not in shown(pilot)
        await pilot.press("f")
        await until_text(pilot, "meanwhile 6")
        assert under_cursor(screen) == "meanwhile 6"


async def test_older_rows_come_by_pages_and_few_are_kept(
    database: Database, connection: Connection, monkeypatch: object
) -> None:
    await connection.execute(
        """INSERT INTO embedding_audit_logs (level, category, message, timestamp)
           SELECT 'info', 'performance', 'old-' || n, now() - interval '1 h' - n * interval '1 s'
           FROM generate_series(0, 999) n"""
    )
    kept, roll.KEPT = roll.KEPT, 500
    try:
        async with console(database.settings) as pilot:
            screen = await shows_audit(pilot)
            assert under_cursor(screen) == "old-0"
            for page in range(2, 6):
                await pilot.press("g", "k")
                expected = f"old-{(page - 1) * PAGE}"
                await until(lambda expected=expected: under_cursor(screen) == expected)  # type: ignore[misc]
                assert len(screen._rows.items) <= 500
            await pilot.press("g", "k")
            await pilot.pause()
            assert under_cursor(screen) == "old-999"
            await log(connection, "newest")
            await until(lambda: screen._roll.newer > 500)
            assert under_cursor(screen) == "old-999"
            await pilot.press("G")
            await until(lambda: under_cursor(screen) == "newest")
    finally:
        roll.KEPT = kept


async def test_a_key_that_is_held_down_reads_older_rows_once(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = [], asyncio.Event()
    read_older = AuditRoll.read_older

    async def slowly(self: AuditRoll, connection: Connection) -> int:
        begun.append(self)
        await goes_on.wait()
        return await read_older(self, connection)

    monkeypatch.setattr(AuditRoll, "read_older", slowly)
    await connection.execute(
        """INSERT INTO embedding_audit_logs (level, category, message, timestamp)
           SELECT 'info', 'performance', 'old-' || n, now() - interval '1 h' - n * interval '1 s'
           FROM generate_series(0, 299) n"""
    )
    async with console(database.settings) as pilot:
        screen = await shows_audit(pilot)
        await pilot.press("g", "k")
        await until_text(pilot, "loading older")
        await pilot.press("k", "k", "k")
        await until_text(pilot, "loading older")
        goes_on.set()
        await until(lambda: under_cursor(screen) == f"old-{PAGE}")
        assert len(begun) == 1


def test_the_first_page_may_take_as_long_as_any_other() -> None:
    assert FollowLog.within_s == OlderRows.within_s == OnePage.within_s


async def test_rows_that_took_long_to_find_are_not_looked_for_again(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = []

    async def slow(*asked: Any, **named: Any) -> AuditPage:
        await connection.execute("SELECT pg_sleep(0.5)")
        pages.append(await audit_page(*asked, **named))
        return pages[-1]

    monkeypatch.setattr(roll, "audit_page", slow)
    monkeypatch.setattr(roll, "AWAY_S", 0.0)
    it = AuditRoll(Wanted())
    await log(connection, "a")
    await it.look(connection)
    await log(connection, "b")
    await it.look(connection)
    assert [row.event.message for row in it.rows] == ["a", "b"]
    assert len(pages) == 1


async def test_no_row_is_lost_over_a_lost_connection_and_late_commits(
    database: Database, connection: Connection
) -> None:
    writer = await database.connect()
    async with (
        TcpProxy(database.url) as proxy,
        console(load_settings(database_url=proxy.url), (120, 40)) as pilot,
    ):
        screen = await shows_audit(pilot)
        await log(connection, "a")
        await until(lambda: under_cursor(screen) == "a")
        late = writer.transaction()
        await late.start()
        await log(writer, "late")
        proxy.refuses = True
        proxy.cut()
        await log(connection, "b", "c")
        await until(lambda: pilot.app.desk.session.store.lost is not None)  # type: ignore[attr-defined]
        assert under_cursor(screen) == "a"
        proxy.refuses = False
        await pilot.press("ctrl+r")
        await until(lambda: under_cursor(screen) == "c", within_s=20)
        await late.commit()
        await until_text(pilot, "late", within_s=10)
        assert [row.event.message for row in screen._rows.items] == ["a", "late", "b", "c"]
        assert under_cursor(screen) == "c"


async def test_a_filter_shows_its_rows_only(database: Database, connection: Connection) -> None:
    (article,) = await add_articles(connection, ["text"])
    task = uuid4()
    await log(connection, "claimed", task_id=task, level="debug", article_id=article)
    await log(connection, "broke", task_id=task, level="error", error="Timed out", article_id=article)
    await log(connection, "by ann", operation_id="op-1", metadata='{"operator": "ann", "host": "h"}')
    async with console(database.settings) as pilot:
        screen = await shows_audit(pilot)
        for typed, expected in (
            (f"task:{task}", ["claimed", "broke"]),
            (f"task:{str(task)[:8]}", ["claimed", "broke"]),
            ("level:warn", ["broke"]),
            ("article:article-0 level:debug", ["claimed", "broke"]),
            ("operation:op-1", ["by ann"]),
            ("ann", ["by ann"]),
            ('"timed out" since:1h', ["broke"]),
            ("category:bulk_operations", []),
            ("", ["broke", "by ann"]),
        ):
            await type_filter(pilot, typed)
            await until(
                lambda expected=expected: (
                    [row.event.message for row in screen._rows.items] == expected  # type: ignore[misc]
                    and screen._roll.begun
                )
            )
        await type_filter(pilot, "levl:warn")
        assert screen.has_class("-editing")
        await pilot.press("escape")
        assert not screen.has_class("-editing")
        for typed in ("article:no-such-article", "operation:ann"):
            await type_filter(pilot, typed)
            await until_text(pilot, f"'{typed.partition(':')[2]}'")
            await pilot.press("escape")
            await until(lambda: screen._error is None)
        await until(lambda: len(screen._rows.items) == 2)
        await pilot.press("v")
        await until(lambda: [row.event.message for row in screen._rows.items] == ["broke"])


async def test_all_of_a_row_is_shown_whatever_is_in_it(database: Database, connection: Connection) -> None:
    for n in range(30):
        await log(connection, f"row {n}")
    await log(
        connection, NASTY, level="error", error=NASTY + "x" * 5_000_000, stack_trace=f"line\n{NASTY}\n" * 50,
        metadata=json.dumps({"operator": NASTY.replace("\x1b", "").replace("\x07", ""), "worker": NASTY[:5]}),
    )  # fmt: skip
    async with console(database.settings) as pilot:
        screen = await shows_audit(pilot)
        await pilot.press("enter")
        await log(connection, "another")
        await until(lambda: screen._roll.rows[-1].event.message == "another")
        for size in ((80, 24), (200, 60), (20, 6), (1, 1), (120, 40)):
            await pilot.resize_terminal(*size)
            assert under_cursor(screen) == NASTY
            if size[0] > 20:
                await until_shown(pilot, lambda text: "error" in text and "[@click=app.quit]" in text)
            text = shown(pilot)
            assert "\x1b" not in text
            assert "\u202e" not in text
        await pilot.press("tab", "end", "pagedown", "escape")
        assert not screen.has_class("-detailed")


@pytest.mark.parametrize("action", [CANCEL, PRIORITISE["high"]], ids=lambda action: action.name)
async def test_u_takes_back_the_operation_of_the_row(
    database: Database, connection: Connection, action: Action
) -> None:
    articles = await add_articles(connection, ["one", "two"])
    await queue_tasks(connection, articles)
    await carry_out(Run(connection, await plan(connection, action, TaskFilter()), "ann@there"))
    await log(connection, "something else", operation_id=str(uuid4()), metadata='{"action": "retry"}')
    changed = "SELECT count(*) FROM embedding_tasks WHERE status = 'failed' OR priority = 'high'"
    async with console(database.settings, (120, 40)) as pilot:
        screen = await shows_audit(pilot)
        await pilot.press("u")  # this row has nothing to take back, nor has the session
        await until_text(pilot, "Nothing to undo")
        assert await connection.fetchval(changed) == 2
        await pilot.press("k")
        await until(
            lambda: (
                screen._rows.current is not None and screen._rows.current.event.message != "something else"
            )
        )
        await pilot.press("u")
        await until_text(pilot, "Undo this for 2 tasks?")
        await pilot.press("y")
        await until_shown(pilot, lambda text: "2 tasks restored" in text)
        assert await connection.fetchval(changed) == 0


async def test_a_row_leads_to_its_task_and_into_a_file(
    database: Database, connection: Connection, tmp_path: Path
) -> None:
    (task,) = await queue_tasks(connection, await add_articles(connection, ["one"]))
    await log(connection, *(f"row {n}" for n in range(PAGE * 5 + 1)), operation_id="op", level="warn")
    await log(connection, "of a task", task_id=task, level="error")
    async with console(database.settings, (120, 40)) as pilot:
        screen = await shows_audit(pilot)
        await pilot.press("o")
        await until(lambda: pilot.app.screen is not screen)
        await until_text(pilot, str(UUID(str(task))))
        await pilot.press("escape")
        await until(lambda: pilot.app.screen is screen)
        await pilot.press("e")
        await until_text(pilot, "Export audit to")
        file = tmp_path / "rows.json"
        await enter(pilot, str(file))
        await until(file.exists)
        await until_text(pilot, "rows written")
        rows = json.loads(file.read_text())
        assert len(rows) == PAGE * 5 + 2
        assert rows[0]["message"] == "of a task"
        assert rows[0]["task_id"] == str(task)
