"""The group roles of `migrate roles`: each does what it is for, and nothing else."""

from __future__ import annotations

import asyncpg
import pytest

from embedq_worker.errors import ExitCode
from embedq_worker.insights.access import access
from tests.commands.every_command import CALLS, Furnished, Kind
from tests.commands.running import Tui, as_role
from tests.support.content import queued_articles
from tests.support.databases import Connection, Database
from tests.support.worker_process import environment, run_worker_process

OWNERS = ["demo", "migrate", "migrate up", "migrate roles", "migrate rollback"]
OWNERS += ["import", "cleanup", "triggers install", "triggers remove"]
"""What changes something and is not for operators."""

OPERATING = [
    "undo",
    "priority",
    "retry",
    "reset-stuck",
    "queue",
    "backfill",
    "backfill rollback",
    "cancel",
    "clear",
]
OPERATING += ["pause", "resume", "stop", "start", "concurrency", "probe"]
"""In an order in which each leaves something to do for the next."""

LOOKING = [name for name, call in CALLS.items() if call.kind is Kind.LOOKS]

VIEWER, OPERATOR, WORKER = (f"GRANT embedq_{role} TO {{role}}" for role in ("viewer", "operator", "worker"))


_OLD = """SELECT count(*) > 0 FROM embedding_tasks
          WHERE status = 'completed' AND completed_at < now() - interval '30 days'"""


def test_every_command_is_somebodys() -> None:
    assert {*OWNERS, *OPERATING} == {name for name, call in CALLS.items() if call.kind is Kind.CHANGES}


@pytest.fixture
async def granted(hard: Tui, furnished: Furnished) -> Furnished:
    """A database in which every command has something to do, and the roles have their rights."""
    answer = await hard("migrate", "roles", "--json")
    assert len(answer.document("migrate-roles")["roles"]) == 3
    return furnished


async def test_a_viewer_sees_everything_and_changes_nothing(
    hard: Tui, connection: Connection, granted: Furnished
) -> None:
    for name in LOOKING:
        as_owner = await hard(*granted.line(name))
        async with as_role(hard, connection, VIEWER):
            answer = await hard(*granted.line(name))
        if name != "check":  # which looks for the rights of a worker
            assert (answer.code, answer.err) == (as_owner.code, as_owner.err), name
    async with as_role(hard, connection, VIEWER):
        for name in OPERATING:
            answer = await hard(*granted.line(name))
            assert answer.code == (ExitCode.OK if name == "concurrency" else ExitCode.NO), f"{name}: {answer}"


async def test_an_operator_does_what_operators_do(
    hard: Tui, connection: Connection, granted: Furnished
) -> None:
    async with as_role(hard, connection, OPERATOR):
        for name in OPERATING:
            answer = await hard(*granted.line(name))
            assert answer.code == ExitCode.OK, f"{name}: {answer}"
        for name in ("import", "migrate rollback"):
            assert (await hard(*granted.line(name))).code == ExitCode.NO, name
        answer = await hard("migrate", "roles")
        assert (answer.code, "CREATEROLE" in answer.err) == (ExitCode.NO, True)
        assert "migrate roles" not in answer.err  # the advice is not to do what was just refused
        assert await connection.fetchval(_OLD), "there is something to clean up"
        answer = await hard(*granted.line("cleanup"))
        assert (answer.code, await connection.fetchval(_OLD)) == (ExitCode.NO, True), "all of it, or nothing"
        own = await asyncpg.connect(hard.variables["DATABASE_URL"])
        assert not (await access(own)).why_not
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await own.execute("DELETE FROM embedding_audit_logs")
        await own.close()


async def test_a_worker_works_and_writes_no_article(
    hard: Tui, connection: Connection, database: Database, granted: Furnished
) -> None:
    [article] = await queued_articles(connection, 1, slug="new")
    async with as_role(hard, connection, WORKER):
        checks = (await hard("check", "--json")).document("check")["checks"]
        assert {check["verdict"] for check in checks if check["name"] == "rights"} == {"ok"}
        code, worker = await run_worker_process(environment(database, None, **hard.variables), "--drain")
        assert code == ExitCode.OK, worker.text
        assert not worker.heard("permission denied"), worker.text
        assert await connection.fetchval("SELECT count(*) FROM embeddings WHERE article_id = $1", article)
        own = await asyncpg.connect(hard.variables["DATABASE_URL"])
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await own.execute("UPDATE articles SET content = ''")
        await own.close()


async def test_rights_of_a_worker_that_are_no_rights_on_tables_are_checked_too(
    hard: Tui, connection: Connection, granted: Furnished
) -> None:
    async def verdict() -> str:
        async with as_role(hard, connection, WORKER):
            checks = (await hard("check", "--json")).document("check")["checks"]
        (found,) = {check["verdict"] for check in checks if check["name"] == "rights"}
        return str(found)

    for lacking, restored in (
        (
            "REVOKE USAGE ON SEQUENCE embeddings_id_seq FROM embedq_worker",
            "GRANT USAGE ON SEQUENCE embeddings_id_seq TO embedq_worker",
        ),
        (
            "REVOKE ALL ON articles FROM embedq_worker; GRANT SELECT ON articles TO embedq_worker",
            "GRANT UPDATE (id) ON articles TO embedq_worker",
        ),
    ):
        await connection.execute(lacking)
        assert await verdict() == "fail"
        await connection.execute(restored)
        assert await verdict() == "ok"


async def test_a_member_of_a_group_that_lacks_what_is_new_is_not_told_to_join_it(
    hard: Tui, connection: Connection, granted: Furnished
) -> None:
    """As after each migration that makes a table, until `migrate roles` is run again."""

    async def advice(groups: str = f"{WORKER}; {OPERATOR}") -> tuple[str, str]:
        async with as_role(hard, connection, groups):
            checks = (await hard("check", "--json")).document("check")["checks"]
            own = await asyncpg.connect(hard.variables["DATABASE_URL"])
            why_not = (await access(own)).why_not
            await own.close()
        [rights] = [check["advice"] for check in checks if check["name"] == "rights"]
        return rights, why_not

    assert ["GRANT" in each for each in await advice(VIEWER)] == [True, True]
    await connection.execute("REVOKE ALL ON embedq_workers FROM embedq_operator, embedq_worker")
    assert ["GRANT" in each or not each for each in await advice()] == [False, False]
    assert (await hard("migrate", "roles")).code == ExitCode.OK
    assert await advice() == ("", "")
