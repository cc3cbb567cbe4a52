"""A retry in stages: what became of a stage decides whether the next begins."""

from __future__ import annotations

import asyncio

import pytest

from embedq_tui.workflows import staged
from embedq_tui.workflows.staged import Stage, in_stages
from embedq_worker.actions.tasks import RETRY, Run, plan
from embedq_worker.queue.wanted import TaskFilter
from tests.support.content import end_pending_tasks, failed_tasks, statuses, until_tasks
from tests.support.databases import Connection, Database

BY = "ann@ops"


async def retried(connection: Connection, *, timeout_s: float) -> tuple[bool, list[Stage]]:
    """Whether every stage went well, and how each ended."""
    seen: list[Stage] = []
    run = Run(connection, await plan(connection, RETRY, TaskFilter(statuses=("failed",))), BY)
    well = await in_stages(run, timeout_s, seen.append)
    return well, [stage for stage in seen if stage.over]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged, "LOOK_EVERY_S", 0.02)


@pytest.mark.parametrize(("failing", "well"), [(1, True), (2, False)])
async def test_one_failure_in_ten_is_taken_for_chance_and_two_are_not(
    database: Database, connection: Connection, failing: int, well: bool
) -> None:
    await failed_tasks(connection, 30)

    async def work(other: Connection) -> None:
        await until_tasks(other, pending=10, failed=20)
        await other.execute(
            """UPDATE embedding_tasks t SET completed_at = clock_timestamp(),
                      status = CASE WHEN place <= $1 THEN 'failed' ELSE 'completed' END
               FROM (SELECT id, row_number() OVER () AS place FROM embedding_tasks
                     WHERE status = 'pending') AS p WHERE p.id = t.id""",
            failing,
        )
        await end_pending_tasks(other, failing=False)

    worker = asyncio.create_task(work(await database.connect()))
    ended = [Stage(1, 10, failing, 0, over=True), Stage(2, 20, 0, 0, over=True)]
    assert await retried(connection, timeout_s=60) == (well, ended if well else ended[:1])
    worker.cancel()
    assert (await statuses(connection))["failed"] == (failing if well else 20 + failing)


async def test_a_stage_that_a_worker_still_holds_has_not_succeeded(connection: Connection) -> None:
    await failed_tasks(connection, 12)
    await connection.execute(
        """CREATE FUNCTION claim() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN NEW.status := 'processing'; NEW.processed_at := now(); RETURN NEW; END $$;
           CREATE TRIGGER claim BEFORE UPDATE ON embedding_tasks FOR EACH ROW EXECUTE FUNCTION claim()"""
    )
    assert await retried(connection, timeout_s=0) == (False, [Stage(1, 10, 0, 10, over=True)])
    assert await statuses(connection) == {"processing": 10, "failed": 2}
