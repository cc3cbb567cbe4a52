"""What operators did last, from the audit log, and whether it can be taken back."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from embedq_worker.actions.tasks import CANCEL, PRIORITISE, RETRY, Run, carry_out, plan
from embedq_worker.actions.tasks import Action as TaskAction
from embedq_worker.actions.undo import undo
from embedq_worker.insights.operations import last_operations
from embedq_worker.queue.wanted import TaskFilter
from tests.integration.test_action_plans import reading_at_most
from tests.support.content import queued_articles
from tests.support.databases import Connection

BY = "ann@ops"


async def act(connection: Connection, action: TaskAction, wanted: TaskFilter) -> Run:
    """Do it, in batches of three."""
    run = Run(connection, await plan(connection, action, wanted), BY, batch_size=3)
    await carry_out(run)
    return run


async def test_the_last_operations_and_what_can_be_undone(connection: Connection) -> None:
    assert await last_operations(connection) == ()
    await queued_articles(connection, 8)
    raised = await act(connection, PRIORITISE["high"], TaskFilter())
    cancelled = await act(connection, CANCEL, TaskFilter(slug="article-1"))
    await act(connection, RETRY, TaskFilter(statuses=("failed",)))
    found = await last_operations(connection)
    assert [each.action for each in found] == ["retry", "cancel", "priority high"]
    assert [each.count for each in found] == [1, 1, 8]
    assert [each.can_undo for each in found] == [False, True, True]
    assert {each.by for each in found} == {BY}
    assert not any(each.interrupted or each.undone for each in found)
    assert (found[1].id, found[2].id) == (cancelled.outcome.operation_id, raised.outcome.operation_id)
    assert found[1].filter["slug"] == "article-1"

    await undo(connection, raised.outcome.operation_id, BY, batch_size=3)
    newest, *others = await last_operations(connection)
    assert (newest.action, newest.can_undo) == ("undo", False)
    assert newest.count == 7 + 1  # the retried one has the priority still
    assert [(each.undone, each.can_undo) for each in others] == [(0, False), (0, True), (8, False)]
    assert await last_operations(connection, limit=1) == (newest,)
    await connection.execute("UPDATE embedding_audit_logs SET timestamp = timestamp - interval '2 h'")
    assert await last_operations(connection, since=timedelta(hours=1)) == ()


async def test_an_interrupted_operation_says_so(connection: Connection) -> None:
    await queued_articles(connection, 8)
    planned = await plan(connection, CANCEL, TaskFilter())

    def interrupt(_: int) -> None:
        acting.cancel()

    run = Run(connection, planned, BY, batch_size=3, progress=interrupt)
    acting = asyncio.create_task(carry_out(run))
    with pytest.raises(asyncio.CancelledError):
        await acting
    (found,) = await last_operations(connection)
    assert (found.interrupted, found.count, found.can_undo) == (True, 3, True)


async def test_what_others_wrote_is_passed_over_and_little_is_read(connection: Connection) -> None:
    await connection.execute(
        """INSERT INTO embedding_audit_logs (level, category, message, operation_id, metadata)
           VALUES ('info', 'bulk_operations', 'm', 'x', '{"action": "a", "operator": "o", "count": 1}'),
                  ('info', 'bulk_operations', 'm', gen_random_uuid(), '{"action": 1, "count": "x"}'),
                  ('info', 'bulk_operations', 'm', gen_random_uuid(), '[1]'),
                  ('info', 'queue_operations', 'm', NULL, NULL)"""
    )
    await connection.execute("ANALYZE embedding_audit_logs")
    await connection.execute(
        """INSERT INTO embedding_audit_logs (id, timestamp, level, category, message)
           SELECT embedq_uuid(), now() - n * interval '1 s', 'info', 'task_lifecycle', 'm'
           FROM generate_series(1, 20000) n"""
    )
    async with reading_at_most(connection, 100, "operations"):
        assert await last_operations(connection) == ()
