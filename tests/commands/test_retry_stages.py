"""`retry --staged`: a few first, and the rest only if these work."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from embedq_worker.errors import ExitCode
from tests.commands.running import Tui, act
from tests.support.content import end_pending_tasks, failed_tasks, queued_articles
from tests.support.databases import Connection, Database
from tests.support.terminal import terminal


@pytest.mark.parametrize("failing", [False, True])
async def test_stages(tui: Tui, database: Database, connection: Connection, failing: bool) -> None:
    await failed_tasks(connection, 150)
    worker = asyncio.ensure_future(end_pending_tasks(await database.connect(), failing=failing))
    expected: dict[str, Any] = {"state": "done", "changed": 150, "batches": 3}
    if failing:
        expected = {"state": "halted", "changed": 10, "batches": 1}
    await act(tui, "retry", "--failed", "--staged", code=int(failing), matched=150, **expected)
    worker.cancel()


async def test_the_first_stage_does_not_wait_for_the_backlog(tui: Tui, connection: Connection) -> None:
    await failed_tasks(connection, 12)
    await queued_articles(connection, 30, slug="backlog")
    await connection.execute(
        "UPDATE embedding_tasks SET scheduled_at = now() - interval '1 hour' WHERE status = 'pending'"
    )
    options = ["--failed", "--staged", "--stage-timeout", 0]
    await act(tui, "retry", *options, code=ExitCode.NO, state="halted", changed=10)
    first = await connection.fetchval(
        """SELECT count(*) FILTER (WHERE slug LIKE 'failed%')
           FROM (SELECT slug FROM embedding_tasks WHERE status = 'pending'
                 ORDER BY embedq_rank(priority), scheduled_at, id LIMIT 10) AS t"""
    )
    older = await connection.fetchval(
        "SELECT max(scheduled_at) - min(scheduled_at) FROM embedding_tasks WHERE status = 'pending'"
    )
    assert (first, older) == (10, timedelta(microseconds=1)), "just ahead of the oldest"


async def test_a_stage_that_nobody_works_on_halts(tui: Tui, connection: Connection) -> None:
    await failed_tasks(connection, 12)
    await act(
        tui,
        "retry",
        "--failed",
        "--staged",
        "--stage-timeout",
        0,
        code=ExitCode.NO,
        state="halted",
        changed=10,
    )


async def test_what_is_told_meanwhile_stands_on_lines_of_its_own_beside_the_bar(
    tui: Tui, connection: Connection
) -> None:
    await failed_tasks(connection, 12)
    command = ["-m", "embedq_tui", "retry", "--failed", "--staged", "--stage-timeout", "2"]
    async with terminal(command, tui.variables) as shown:
        await shown.until(lambda text: "10/12" in text)
        await shown.until(lambda text: any(line.startswith("Stage 1") for line in text.splitlines()))
        assert await shown.ended() == ExitCode.NO
        assert not any("/12" in line for line in shown.lines), "the bar is gone"
