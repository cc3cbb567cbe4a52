"""A database without our tables: each screen says that it knows nothing, none goes on looking."""

from __future__ import annotations

import pytest

from embedq_worker.errors import MIGRATE
from tests.console.running import console, shown, until_text
from tests.support.databases import Connection, Database
from tests.support.waiting import until


@pytest.mark.parametrize("key", "12345678")
async def test_no_screen_goes_on_looking(empty_database: Database, key: str) -> None:
    async with console(empty_database.settings, (120, 40)) as pilot:
        await until_text(pilot, "M: migrate")
        await pilot.press(key)

        def told() -> bool:
            text = shown(pilot).lower()
            return not any(word in text for word in ("loading", "counting", "measuring", "nothing yet"))

        await until(told)
        assert "M: migrate" in shown(pilot)


async def test_where_nothing_may_be_changed_no_key_is_offered(empty_database: Database) -> None:
    async with console(empty_database.settings, (120, 40), read_only=True) as pilot:
        await until_text(pilot, MIGRATE)
        assert "M: migrate" not in shown(pilot)


async def test_no_provider_can_be_tried(empty_database: Database) -> None:
    async with console(empty_database.settings, (120, 40)) as pilot:
        await until_text(pilot, "M: migrate")
        await pilot.press("n")
        await until_text(pilot, ": failed")
        assert "embedq_provider_ask" not in shown(pilot), "what is missing is the schema, and not a function"


async def test_what_a_later_release_has_migrated_is_not_to_be_migrated(
    database: Database, connection: Connection
) -> None:
    await connection.execute(
        """INSERT INTO embedq_migrations (version, name, checksum, program, seconds)
           VALUES (999, 'later', '', '9.0.0', 0)"""
    )
    async with console(database.settings, (160, 40)) as pilot:
        await until_text(pilot, "embedq 9.0.0")
        assert "M: migrate" not in shown(pilot)
