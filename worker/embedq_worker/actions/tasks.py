"""What an operator does to tasks: any number of them, in bounded batches, each a transaction of its own.

A batch walks on where the one before it ended, skips what somebody else holds, and leaves one audit row about
itself and one per task, with what is needed to undo it. Counts and signals come from the triggers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from embedq_worker.database.connections import Connection
from embedq_worker.database.failures import EXPECTED_ERRORS
from embedq_worker.queue.operator_log import operator_and_host
from embedq_worker.queue.selection import PLAN, Branch, Cursor, Selection, count, select
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.queue.words import PRIORITIES

BATCH = 1_000
"""Tasks per transaction."""

CANCELLED = "Cancelled by administrator"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Action:
    """Something that is done to tasks.

    Attributes:
        name: For audit rows and scripts.
        done: In words, of a task to which it was done.
        statuses: Of the tasks that it can be done to.
        changes: The columns it sets; ``m.at`` is the time of the batch.
        also: What else a task has to fulfil.
        otherwise: `LeftOut.reason` of one that does not.
    """

    name: str
    done: str
    statuses: tuple[str, ...]
    changes: str
    also: str = "true"
    otherwise: str = ""


# A failed delete whose article was to be embedded again after it would take away what is stored now.
RETRY = Action(
    "retry",
    "retried",
    ("failed",),
    """status = 'pending', attempts = 0, crash_count = NULL, scheduled_at = m.at, processed_at = NULL,
       completed_at = NULL, error_message = NULL, worker_id = NULL""",
    """(t.operation <> 'delete' OR NOT EXISTS (
            SELECT FROM embedding_tasks l WHERE l.article_id = t.article_id AND l.operation <> 'delete'
                                            AND l.created_at > t.created_at))""",
    "superseded",
)
"""A fresh start for failed tasks."""

CANCEL = Action(
    "cancel",
    "cancelled",
    ("pending", "processing"),
    f"status = 'failed', error_message = '{CANCELLED}', completed_at = m.at",
)
"""Ends tasks, those in hand too: whoever holds one can write nothing of it any more."""

CANCEL_FAILED = Action(
    CANCEL.name,
    CANCEL.done,
    ("failed",),
    f"error_message = '{CANCELLED}'",
    f"t.error_message IS DISTINCT FROM '{CANCELLED}'",
    "already",
)
"""Gives failed tasks up: they leave the group of their error, which the audit log keeps."""

RELEASE = Action(
    "release",
    "put back into the queue",
    ("processing",),
    "status = 'pending', processed_at = NULL, worker_id = NULL",
)
"""Takes claims back, of any worker and program; no attempt is charged."""


PRIORITISE = {
    priority: Action(
        f"priority {priority}",
        f"given priority {priority}",
        ("pending",),
        f"priority = '{priority}'",
        f"t.priority <> '{priority}'",
        "already",
    )
    for priority in PRIORITIES
}
"""Gives waiting tasks another priority."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An action on tasks, counted, not done yet.

    Attributes:
        wanted: The tasks, of statuses to which the action can be done.
        matched: How many they are.
    """

    action: Action
    wanted: TaskFilter
    selection: Selection
    matched: int


@dataclass(slots=True)
class Outcome:
    """What an action did so far; whole also when it was interrupted.

    Attributes:
        operation_id: In the audit log, and for `undo`.
        changed: Tasks it was done to.
        batches: Transactions that changed something.
        ids: The tasks, where they were named; else the first thousand of them.
    """

    operation_id: UUID = field(default_factory=uuid4)
    changed: int = 0
    batches: int = 0
    ids: list[UUID] = field(default_factory=list)


async def plan(connection: Connection, action: Action, wanted: TaskFilter) -> Plan:
    """Count the tasks that an action would be done to.

    Args:
        connection: To the migrated database.
        action: What is to be done.
        wanted: To which tasks; those of other statuses are left out.
    """
    narrowed = wanted.only(*action.statuses)
    # What fails meanwhile, again or for the first time, is no part of what was asked for.
    bounded = (
        replace(narrowed, until=timedelta(0))
        if action.statuses == ("failed",) and wanted.until is None
        else narrowed
    )
    chosen = await select(connection, bounded)
    return Plan(action, narrowed, chosen, await count(connection, narrowed, chosen, action.also))


@dataclass(frozen=True, slots=True)
class Run:
    """An action under way.

    Attributes:
        connection: To the migrated database, for this alone meanwhile.
        planned: Of `plan`.
        by: Operator as ``user@host``.
        batch_size: Tasks per transaction.
        progress: Told after each batch how many tasks are done.
        outcome: Filled on the way; it tells also what an interrupted run did.
    """

    connection: Connection
    planned: Plan
    by: str
    batch_size: int = BATCH
    progress: Callable[[int], None] = lambda changed: None
    outcome: Outcome = field(default_factory=Outcome)


async def carry_out(run: Run, *, limit: int | None = None) -> Outcome:
    """Do what was planned, the oldest tasks first, to as many as were counted at most.

    A cancellation (Ctrl-C) waits for the batch under way; what was done until then stays done, and run again
    it goes on with what is left.

    Args:
        run: What is to be done; called again it goes on.
        limit: Tasks at most.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    outcome = run.outcome
    left = run.planned.matched - outcome.changed
    left = left if limit is None else min(left, limit)
    try:
        before = -1
        while left > 0 and outcome.changed > before:  # what nothing can be done to is held by others
            before = outcome.changed
            for branch in run.planned.selection.branches:
                left = await _walk(run, branch, left)
    except BaseException:
        if outcome.batches:
            with suppress(*EXPECTED_ERRORS):  # it may be the database that is gone
                await whole(_summarise(run, "interrupted"))
        raise
    if outcome.batches > 1 and limit is None:
        await whole(_summarise(run, "done"))
    return outcome


async def _walk(run: Run, branch: Branch, left: int) -> int:
    """Go along one branch once.

    Returns:
        How many tasks are left to do.
    """
    place: Cursor | None = None
    while left > 0:
        size = min(left, run.batch_size)
        batch = await whole(_batch(run, branch, place, size))
        left -= len(batch.ids)
        if batch.chosen < size:
            break
        place = batch.last
    return left


@dataclass(frozen=True, slots=True)
class _Batch:
    ids: Sequence[UUID]
    chosen: int
    last: Cursor | None


async def _batch(run: Run, branch: Branch, place: Cursor | None, size: int) -> _Batch:
    chosen, action = run.planned.selection, run.planned.action
    arguments = [*chosen.arguments, size, *_signature(run)]
    number = len(chosen.arguments) + 1
    beyond = branch.beyond(place, "oldest", len(arguments) + 1) if place else "true"
    statement = _BATCH.format(
        time=branch.time or "NULL::timestamptz",
        where=f"{branch.where} AND {action.also} AND {beyond}",
        order=branch.ordered("oldest"),
        changes=action.changes,
        size=f"${number}::int",
        **{name: f"${number + place}::text" for place, name in enumerate(_SIGNED, 1)},
    )
    async with run.connection.transaction():
        await run.connection.execute(PLAN)
        row = await run.connection.fetchrow(statement, *arguments, *(place.arguments if place else ()))
    assert row is not None
    ids = row["ids"] or ()
    outcome = run.outcome
    outcome.changed += len(ids)
    outcome.batches += bool(ids)
    outcome.ids += ids if run.planned.wanted.ids is not None else ids[: BATCH - len(outcome.ids)]
    if ids:
        run.progress(outcome.changed)
    return _Batch(ids, row["chosen"], Cursor(row["last_time"], row["last_id"]) if row["chosen"] else None)


_SIGNED = ("operation", "action", "done", "category", "operator", "host", "filter")


def _signature(run: Run) -> list[str]:
    """What every audit row of a run says."""
    action, wanted = run.planned.action, run.planned.wanted
    operator, host = operator_and_host(run.by)
    return [
        str(run.outcome.operation_id),
        action.name,
        action.done,
        "bulk_operations" if wanted.ids is None else "queue_operations",
        operator,
        host,
        json.dumps(wanted.document()),
    ]


# The time of the batch is in the tasks and in its audit rows: by it `undo` knows that nothing came after.
_BATCH = """
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), chosen AS MATERIALIZED (
    SELECT t.id, {time} AS time, t.status AS was, t.priority AS priority_was, t.error_message AS error_was
    FROM embedding_tasks t WHERE {where} ORDER BY {order} LIMIT {size} FOR UPDATE OF t SKIP LOCKED
), changed AS (
    UPDATE embedding_tasks t SET {changes} FROM chosen c, moment m WHERE t.id = c.id
    RETURNING t.id, t.article_id, c.was, c.priority_was, c.error_was
), told AS (
    INSERT INTO embedding_audit_logs
        (id, timestamp, level, category, message, task_id, article_id, operation_id, metadata)
    SELECT embedq_uuid(), m.at, 'debug', 'task_lifecycle', 'Operator: task ' || {done}, c.id, c.article_id,
           {operation}, jsonb_strip_nulls(jsonb_build_object(
               'operator', {operator}, 'host', {host}, 'action', {action},
               'status', c.was, 'priority', c.priority_was, 'error', c.error_was))
    FROM changed c, moment m
), summed AS (
    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, operation_id, metadata)
    SELECT embedq_uuid(), m.at, 'info', {category}, 'Operator: tasks ' || {done}, {operation},
           jsonb_build_object('operator', {operator}, 'host', {host}, 'action', {action},
                              'filter', {filter}::jsonb, 'count', n.n)
    FROM (SELECT count(*) AS n FROM changed) AS n, moment m WHERE n.n > 0
)
SELECT (SELECT array_agg(id) FROM changed) AS ids, (SELECT count(*) FROM chosen) AS chosen,
       (SELECT max(time) FROM chosen) AS last_time,
       (SELECT id FROM chosen ORDER BY time DESC, id DESC LIMIT 1) AS last_id
"""


async def _summarise(run: Run, state: str) -> None:
    operation, action, done, category, operator, host, wanted = _signature(run)
    document = {
        "operator": operator,
        "host": host,
        "action": action,
        "filter": json.loads(wanted),
        "count": run.outcome.changed,
        "matched": run.planned.matched,
        "batches": run.outcome.batches,
        "state": state,
    }
    await run.connection.execute(
        """INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, operation_id, metadata)
           VALUES (embedq_uuid(), clock_timestamp(), 'info', $1, 'Operator: in all tasks ' || $2::text,
                   $3, $4)""",
        category,
        done,
        operation,
        json.dumps(document),
    )


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Let a batch come to its end before a cancellation does: it is done and counted, or was not begun."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task])
        raise
