"""Tasks and workers given by the first digits of their id, as screens show them."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest

from embedq_worker.errors import ExitCode
from tests.commands.actors import start_worker
from tests.commands.running import Tui
from tests.support.content import statuses
from tests.support.databases import Connection

ALIKE = UUID("0badcafe-0000-4000-8000-000000000001"), UUID("0badcafe-0000-4000-8000-000000000002")
OTHER = UUID("0badcafe-1000-4000-8000-000000000003")


async def fail(connection: Connection, *tasks: UUID) -> None:
    """Insert failed tasks with these ids."""
    await connection.execute(
        """INSERT INTO embedding_tasks (id, slug, operation, status, error_message, completed_at)
           SELECT id, 'a-slug', 'update', 'failed', 'boom', now() FROM unnest($1::uuid[]) AS id""",
        list(tasks),
    )


async def test_a_task_is_found_by_the_beginning_of_its_id(tui: Tui, connection: Connection) -> None:
    await fail(connection, *ALIKE, OTHER)
    for name in ("0badcafe1", "0BADCAFE-1000", str(OTHER)):
        assert (await tui("show", name, "--json")).document("show")["task"]["id"] == str(OTHER)
    assert (await tui("retry", "0badcafe-1", str(ALIKE[0]))).code == ExitCode.OK
    assert await statuses(connection) == {"pending": 2, "failed": 1}
    assert (await tui("priority", "high", "0badcafe1")).code == ExitCode.OK
    assert (await tui("cancel", "0badcafe1")).code == ExitCode.OK
    assert await statuses(connection) == {"pending": 1, "failed": 2}
    told = await tui("audit", "--task", "0badcafe1", "--json")
    assert {row["task_id"] for row in map(json.loads, told.out.splitlines())} == {str(OTHER)}


async def test_a_deleted_task_is_found_in_the_audit_log_by_the_beginning_of_its_id(
    tui: Tui, connection: Connection
) -> None:
    await fail(connection, ALIKE[0], OTHER)
    await tui("retry", "--failed")
    await connection.execute("DELETE FROM embedding_tasks WHERE id <> $1", ALIKE[0])
    told = await tui("audit", "--task", "0badcafe1", "--json")
    assert {row["task_id"] for row in map(json.loads, told.out.splitlines())} == {str(OTHER)}
    assert (await tui("audit", "--task", "0badcafe")).code == ExitCode.NO  # two of them, one deleted
    assert (await tui("retry", "0badcafe1")).code == ExitCode.NO


@pytest.mark.parametrize("command", ["show", "retry", "cancel", "priority high", "audit --task"])
async def test_what_fits_several_tasks_or_none_is_refused(
    tui: Tui, connection: Connection, command: str
) -> None:
    await fail(connection, *ALIKE, OTHER)
    for name in ("0badcafe0", "0badcafe", "deadbeef"):
        answer = await tui(*command.split(), name)
        assert (answer.code, answer.out) == (ExitCode.NO, "")
        assert name in answer.err
    assert (await tui(*command.split(), "0badc")).code == ExitCode.USAGE
    assert await statuses(connection) == {"failed": 3}


async def test_a_worker_is_found_by_the_beginning_of_its_id(tui: Tui, connection: Connection) -> None:
    worker, second = await start_worker(connection), await start_worker(connection)
    await connection.execute(
        """INSERT INTO embedding_tasks (slug, operation, status, processed_at, worker_id, claimed_at)
           VALUES ('held', 'update', 'processing', now(), $1, now())""",
        worker,
    )
    for name in (str(worker)[:8], str(worker)[:13].upper()):
        set_to = (await tui("concurrency", "2", "--worker", name, "--json")).document("concurrency")
        assert [each["id"] for each in set_to["workers"]] == [str(worker)]
        listed = (await tui("list", "--worker", name, "--json")).document("list")
        assert [task["slug"] for task in listed["tasks"]] == ["held"]
    assert (await tui("list", "--worker", str(uuid4()))).code == ExitCode.NO  # of one that has ended
    assert (await tui("cancel", "--worker", str(second)[:8], "--yes")).code == ExitCode.NO
    assert await statuses(connection) == {"processing": 1}
    assert (await tui("cancel", "--worker", str(worker)[:8], "--yes")).code == ExitCode.OK
    await tui("stop", "--worker", str(worker)[:8], "--timeout", "0")
    ordered = "SELECT id FROM embedq_workers WHERE stop_requested IS NOT NULL"
    assert [row["id"] for row in await connection.fetch(ordered)] == [worker]


async def test_what_fits_several_workers_or_none_is_refused(tui: Tui, connection: Connection) -> None:
    await start_worker(connection)
    await start_worker(connection)
    for command in ("stop", "concurrency 2", "list", "cancel --yes"):
        for name in ("build-7/4711", "build-7/1", str(uuid4())[:8]):
            answer = await tui(*command.split(), "--worker", name)
            assert (answer.code, answer.out) == (ExitCode.NO, "")
            assert name in answer.err
        assert (await tui(*command.split(), "--worker", "build-7")).code == ExitCode.USAGE
    assert not await connection.fetchval("SELECT bool_or(stop_requested IS NOT NULL) FROM embedq_workers")
