"""Where nothing may be changed, the console finds that out by itself."""

from __future__ import annotations

from typing import cast
from uuid import uuid4

import pytest

from embedq_tui.console.app import Console
from embedq_tui.desk import Options
from embedq_tui.live.session import Session
from embedq_tui.profiles import Profile
from embedq_tui.screens.troubles import TroublesScreen
from tests.console.running import console, notices, shown, until_shown
from tests.support.databases import Connection, Database
from tests.support.waiting import until


@pytest.mark.parametrize(
    "rights",
    [
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {0}",
        "ALTER ROLE {0} SUPERUSER; ALTER ROLE {0} SET default_transaction_read_only = on",
    ],
    ids=["rights", "session"],
)
async def test_a_role_that_may_not_write_is_refused_before_it_tries(
    database: Database, connection: Connection, rights: str
) -> None:
    role = f"embedq_{uuid4().hex[:8]}"
    await connection.execute(f"CREATE ROLE {role} LOGIN")
    try:
        await connection.execute(rights.format(role))
        async with console(database.as_role(role)) as pilot:
            desk = cast(Console, pilot.app).desk
            assert desk.session.read_only
            assert desk.dialogs.refused()
    finally:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    async with console(database.settings) as pilot:
        assert not cast(Console, pilot.app).desk.dialogs.refused()


async def test_a_database_that_has_not_answered_is_not_changed(database: Database) -> None:
    session = Session(
        database.settings, Profile(), read_only=False, on_state=lambda: None, on_answer=lambda _: None
    )
    assert session.read_only


async def test_where_nothing_may_be_changed_a_key_that_a_dialog_passes_on_is_refused_too(
    database: Database,
) -> None:
    app = Console(database.settings, Profile(), Options("ann@ops", read_only=True))
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("exclamation_mark")
        await until(lambda: isinstance(app.screen, TroublesScreen))
        assert not notices(pilot)
        await pilot.press("n")
        await until(lambda: len(notices(pilot)) == 1)


async def test_where_nothing_may_be_changed_no_key_is_named_that_starts_a_worker(database: Database) -> None:
    options = Options("ann@ops", read_only=True, keymap={"workers.start": "f7"})
    app = Console(database.settings, Profile(), options)
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("5")
        await until_shown(pilot, lambda screen: "This console" in screen and "All workers" in screen)
        assert "f7" not in shown(pilot).split("This console")[1].split("\n")[0]
