"""The screen of settings: values and sources without secrets, checks, migrations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from embedq_tui.console.app import Console
from embedq_tui.desk import Options
from embedq_tui.dialogs.confirm import Confirm
from embedq_tui.dialogs.dialog import Dialog
from embedq_tui.profiles import Profile
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_worker.configuration.settings import Settings
from embedq_worker.schema.files import load_migrations
from embedq_worker.schema.state import require_current
from tests.console.running import (
    OPERATOR,
    ConsolePilot,
    console,
    notices,
    shown,
    until_asked,
    until_shown,
    until_text,
    with_stub,
)
from tests.support.databases import DIMENSIONS, Connection, Database
from tests.support.provider_stub import ProviderStub
from tests.support.waiting import until


@asynccontextmanager
async def unmigrated(settings: Settings, *, read_only: bool = False) -> AsyncIterator[ConsolePilot]:
    """A console on a database that has no tables of ours."""
    app = Console(settings, Profile(), Options(OPERATOR, read_only=read_only))
    async with app.run_test(size=(100, 30), notifications=True, tooltips=True) as pilot:
        await until(
            lambda: app.desk.session.store.error is not None and app.desk.session.store.access is not None
        )
        yield pilot


async def test_every_setting_is_shown_and_no_secret(database: Database) -> None:
    url = database.url.replace("://postgres@", "://postgres:hidden-word@")
    settings = database.settings.model_copy(
        update={
            "database_url": SecretStr(url),
            "openai_api_key": SecretStr("hidden-key"),
            "chunk_overlap": 400,
        }
    )
    async with console(settings, (120, 90)) as pilot:  # all of them at once
        await pilot.press("9")
        await until_text(pilot, "up to date")
        await until_text(pilot, "Warning: CHUNK_OVERLAP")
        table = pilot.app.screen.query_one("#settings", KeyedTable)
        assert "DATABASE_URL" in table.keys
        assert "EMBEDDING_QUEUE_METRICS_INTERVAL" in table.keys
        for key in ("OPENAI_API_KEY", "DATABASE_URL"):
            table.move_cursor(row=table.keys.index(key))
            await until_text(pilot, f"{key} =")
            assert "********" in shown(pilot)
            assert "hidden" not in shown(pilot)
        await pilot.press("y")
        assert "hidden" not in pilot.app.clipboard
        assert table.current is not None
        assert pilot.app.clipboard.startswith(f"{table.current}=")
        await pilot.press("tab", "tab")
        await until_text(pilot, "article_trigger")


async def test_database_and_provider_are_tried_and_one_that_hangs_is_given_up(database: Database) -> None:
    stub = ProviderStub(dimensions=DIMENSIONS)
    async with stub, console(with_stub(database, stub), (120, 40)) as pilot:
        await pilot.press("9", "c")
        await until_text(pilot, "A worker can run with these")
        stub.faults.latency_s = 60
        await pilot.press("c")
        await until_text(pilot, "LISTEN works")  # verdicts come one by one
        await until_text(pilot, "esc: stop")
        await pilot.press("escape")
        await until_text(pilot, "Stopped")
        stub.faults.latency_s = 0
        await stub.stop()
        await pilot.press("c")
        await until_text(pilot, "FAIL  provider")
        await until_shown(pilot, lambda screen: "esc: stop" not in screen)


async def test_missing_migrations_are_offered_and_applied(empty_database: Database) -> None:
    async with unmigrated(empty_database.settings) as pilot:
        looking = await empty_database.connect()
        await until_text(pilot, "M: migrate")
        await pilot.press("M")
        await until_asked(pilot)
        await pilot.press("enter")  # it starts on No
        await until(lambda: not isinstance(pilot.app.screen, Dialog))
        assert not await looking.fetchval("SELECT to_regclass('embedding_tasks') IS NOT NULL")
        await pilot.press("9")
        await until_text(pilot, "migrations missing")
        await pilot.press("m")
        await until_asked(pilot)
        await pilot.press("y")
        await until_text(pilot, "Schema    up to date", within_s=90)
        await until_shown(pilot, lambda screen: "M: migrate" not in screen)
        await require_current(looking)
        await pilot.press("1")
        await until_text(pilot, "0 pending")


async def test_what_was_dropped_is_put_back(database: Database, connection: Connection) -> None:
    await connection.execute("DROP INDEX embedq_tasks_failed_idx")
    async with console(database.settings, (100, 30)) as pilot:
        await until_text(pilot, "M: migrate")
        await pilot.press("M")
        await until_asked(pilot)
        await pilot.press("y")
        await until(lambda: bool(notices(pilot)), within_s=30)
        await until_shown(pilot, lambda screen: "M: migrate" not in screen)
    assert await connection.fetchval("SELECT to_regclass('embedq_tasks_failed_idx') IS NOT NULL")


async def test_the_migrations_are_listed_although_a_table_is_missing(
    database: Database, connection: Connection
) -> None:
    await connection.execute("DROP TABLE embedq_articles CASCADE")
    async with console(database.settings, (100, 30)) as pilot:
        await pilot.press("9")
        await until_text(pilot, f"Migrations {len(load_migrations())}")
        await pilot.press("M")
        await until_text(pilot, "rollback --to 3")


async def test_where_nothing_may_be_changed_no_migration_is_run(empty_database: Database) -> None:
    async with unmigrated(empty_database.settings, read_only=True) as pilot:
        await pilot.press("M")
        await until_text(pilot, "Read-only")
        await pilot.press("9")
        await until_text(pilot, "migrations missing")
        await pilot.press("m")
        await pilot.pause()
        assert not isinstance(pilot.app.screen, Dialog)


async def test_the_schema_of_a_newer_program_is_not_touched(
    database: Database, connection: Connection
) -> None:
    await connection.execute(
        """INSERT INTO embedq_migrations (version, name, checksum, program, seconds)
           VALUES (990, 'from_the_future', 'x', '9.9', 0)"""
    )
    async with console(database.settings, (100, 30)) as pilot:
        await pilot.press("9")
        await until_text(pilot, "from another version of embedq")
        await pilot.press("M")
        await until_text(pilot, "990 from_the_future")
        assert not isinstance(pilot.app.screen, Confirm)


async def test_on_a_narrow_terminal_a_setting_is_read_to_its_end(database: Database) -> None:
    async with console(database.settings) as pilot:
        await pilot.press("9")
        await until_text(pilot, "SEMANTIC_SEARCH_ENABLED")
        table = pilot.app.screen.query_one("#settings", KeyedTable)
        table.move_cursor(row=table.keys.index("EMBEDDING_METRICS_PORT"))
        await until_text(pilot, "accepts 0..65535")
        await until_text(pilot, "from default")
