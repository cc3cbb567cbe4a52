"""`embedq-tui --migrate` and `embedq-tui migrate`."""

from __future__ import annotations

import pytest

from embedq_worker.errors import ExitCode
from tests.commands.actors import start_worker
from tests.commands.running import Tui
from tests.support.databases import Connection, Database


async def versions(database: Database) -> list[int]:
    connection = await database.connect()
    try:
        return [row[0] for row in await connection.fetch("SELECT version FROM embedq_migrations ORDER BY 1")]
    finally:
        await connection.close()


@pytest.mark.parametrize("arguments", [["--migrate"], ["migrate"], ["migrate", "up"]])
async def test_an_empty_database_is_brought_up_to_date(
    bare_tui: Tui, empty_database: Database, arguments: list[str]
) -> None:
    answer = await bare_tui(*arguments)
    assert (answer.code, answer.err) == (ExitCode.OK, "")
    applied = await versions(empty_database)
    assert len(answer.out.splitlines()) >= len(applied) > 10
    again = await bare_tui("migrate", "--json")
    assert again.document("migrate") == {"applied": []}


async def test_what_was_applied_is_told_in_json(bare_tui: Tui, empty_database: Database) -> None:
    before = (await bare_tui("migrate", "status", "--json")).document("migrate-status")
    assert before["current"] is False
    assert {row["state"] for row in before["migrations"]} == {"pending"}
    assert "--migrate" in (await bare_tui("migrate", "status")).out.splitlines()[-1]
    answer = await bare_tui("migrate", "up", "--json")
    assert answer.document("migrate")["applied"] == await versions(empty_database)
    after = (await bare_tui("migrate", "status", "--json")).document("migrate-status")
    assert after["current"] is True
    told = (await bare_tui("migrate", "status")).out
    assert "articles" in told
    assert "--migrate" not in told
    connection = await empty_database.connect()
    await connection.execute("UPDATE embedq_migrations SET checksum = 'x' WHERE version = 5")
    assert "migrate verify" in (await bare_tui("migrate", "status")).out.splitlines()[-1]


async def test_verify_answers_with_its_exit_code(tui: Tui, connection: Connection) -> None:
    answer = await tui("migrate", "verify", "--json")
    assert answer.code == ExitCode.OK
    assert answer.document("migrate-verify") == {"ok": True, "problems": []}
    await connection.execute("DROP INDEX embedq_tasks_failed_idx")
    answer = await tui("migrate", "verify", "--json")
    assert answer.code == ExitCode.NO
    [problem] = answer.document("migrate-verify")["problems"]
    assert problem["code"] == "missing"
    assert "embedq_tasks_failed_idx" in (await tui("migrate", "verify")).out


async def test_what_keeps_the_programs_from_working_is_told_if_nothing_is_pending(
    tui: Tui, connection: Connection
) -> None:
    await connection.execute("ALTER TABLE articles RENAME COLUMN folder TO place")
    answer = await tui("--migrate")
    assert answer.code == ExitCode.OK
    assert "folder" in answer.out
    assert (await tui("migrate", "--json")).document("migrate") == {"applied": []}


async def test_rollback_to_the_public_tables(tui: Tui, database: Database) -> None:
    answer = await tui("migrate", "rollback", "--to", "2", "--yes", "--json")
    assert answer.code == ExitCode.OK
    assert min(answer.document("migrate-rollback")["taken_back"]) == 3
    assert await versions(database) == [1, 2]
    assert (await tui("status")).code == ExitCode.OK


async def test_what_drops_no_data_needs_no_yes(tui: Tui, database: Database) -> None:
    assert (await tui("migrate", "rollback", "--to", "4")).code == ExitCode.OK
    assert await versions(database) == [1, 2, 3, 4]


@pytest.mark.parametrize("version", ["0", "1", "2", "3"])
async def test_data_is_not_dropped_without_a_yes(tui: Tui, database: Database, version: str) -> None:
    refused = await tui("migrate", "rollback", "--to", version)
    assert refused.code == ExitCode.NO
    assert "--yes" in refused.err
    assert len(await versions(database)) > 10


async def test_data_is_dropped_with_a_yes(tui: Tui, database: Database) -> None:
    assert (await tui("migrate", "rollback", "--to", "1", "--yes")).code == ExitCode.OK
    assert await versions(database) == [1]


async def test_nothing_is_taken_from_running_workers_without_a_yes(
    tui: Tui, database: Database, connection: Connection
) -> None:
    await start_worker(connection, silent="1 h")
    assert (await tui("migrate", "rollback", "--to", "17")).code == ExitCode.OK
    await start_worker(connection)
    assert (await tui("migrate", "rollback", "--to", "17")).code == ExitCode.OK  # there is nothing to take
    refused = await tui("migrate", "rollback", "--to", "4")
    assert refused.code == ExitCode.NO
    assert "build-7/4711" in refused.err
    assert len(await versions(database)) == 17
    assert (await tui("migrate", "rollback", "--to", "4", "--yes")).code == ExitCode.OK


async def test_a_damaged_schema_is_rolled_back_without_asking(
    tui: Tui, database: Database, connection: Connection
) -> None:
    await connection.execute("DROP TABLE embedq_workers CASCADE")
    assert (await tui("migrate", "rollback", "--to", "4")).code == ExitCode.OK


async def test_wrong_use(tui: Tui) -> None:
    assert (await tui("migrate", "rollback")).code == ExitCode.USAGE
    assert (await tui("migrate", "rollback", "--to", "999")).code == ExitCode.USAGE
    assert (await tui("migrate", "sideways")).code == ExitCode.USAGE
    assert (await tui("--migrate", "status")).code == ExitCode.USAGE
