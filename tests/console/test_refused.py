"""Where nothing may be changed, the console finds that out by itself."""

from __future__ import annotations

from typing import cast
from uuid import uuid4

import pytest

from embedq_tui.console.app import Console
from embedq_tui.live.session import Session
from embedq_tui.profiles import Profile
from tests.console.running import console
from tests.support.databases import Connection, Database


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
