"""Operators' actions on any number of tasks, in bounded batches that are transactions of their own.

A batch continues where the last one ended, skips tasks that another session has locked, and writes one audit
row for itself and one per task, with what is needed to undo it. Triggers maintain the counts and notify.
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
from embedq_worker.queue.selection import (
    PLAN,
    RETRIABLE,
    Branch,
    Cursor,
    Parameters,
    Selection,
    count_tasks,
    select,
)
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.schema.task_values import CANCELLED, PRIORITIES

BATCH = 1_000
"""Tasks per transaction."""

WHOLE_S = 5.0
"""Seconds that a batch may still take once it is interrupted: usually a fraction of one."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Action:
    """An action on tasks.

    Attributes:
        name: Name for audit rows and scripts.
        done: Its past participle, as in "task cancelled".
        statuses: Statuses of the tasks it applies to.
        changes: SET clause; ``m.at`` is the time of the batch.
        also: Further condition on a task.
        otherwise: `LeftOut.reason` of a task that does not meet it.
    """

    name: str
    done: str
    statuses: tuple[str, ...]
    changes: str
    also: str = "true"
    otherwise: str = ""


_FRESH = """status = 'pending', attempts = 0, crash_count = NULL, scheduled_at = {due}, processed_at = NULL,
       completed_at = NULL, error_message = NULL, worker_id = NULL"""

RETRY = Action(
    "retry",
    "retried",
    ("failed",),
    _FRESH.format(due="m.at"),
    RETRIABLE,
    "superseded",
)
"""A fresh start for failed tasks."""

RETRY_WAITING = replace(
    RETRY,
    statuses=("pending",),
    also="t.scheduled_at > now()",  # not clock_timestamp(): only a stable expression can bound an index scan
    otherwise="already",
)
"""The same for pending tasks that are not due yet, such as those that wait for their next attempt."""

# Looked up once per priority, not once per task: the head of the queue may lie behind many dead entries.
# A microsecond earlier, as a whole backlog may share one time; nothing precedes the earliest of timestamps.
_AHEAD = """ARRAY(SELECT (SELECT w.scheduled_at - interval '1 microsecond' FROM embedding_tasks w
                              WHERE w.status = 'pending' AND embedq_rank(w.priority) = r.rank
                                AND w.scheduled_at > '4713-01-01 BC' ORDER BY w.scheduled_at, w.id LIMIT 1)
                      FROM generate_series(0, 2) AS r(rank) ORDER BY r.rank)"""

RETRY_NEXT = replace(
    RETRY, changes=_FRESH.format(due=f"least(m.at, ({_AHEAD})[embedq_rank(t.priority) + 1])")
)
"""The same, but ahead of the waiting tasks of their priority: for a few, to see whether they succeed now."""

CANCEL = Action(
    "cancel",
    "cancelled",
    ("pending", "processing"),
    f"status = 'failed', error_message = '{CANCELLED}', completed_at = m.at",
)
"""Ends tasks, including those in progress: their worker can no longer write a result."""

CANCEL_FAILED = Action(
    CANCEL.name,
    CANCEL.done,
    ("failed",),
    f"error_message = '{CANCELLED}'",
    f"t.error_message IS DISTINCT FROM '{CANCELLED}'",
    "already",
)
"""Abandons failed tasks: they leave the group of their error, which only the audit log keeps."""

RELEASE = Action(
    "release",
    "put back into the queue",
    ("processing",),
    "status = 'pending', processed_at = NULL, worker_id = NULL",
)
"""Takes back claims of any worker or program; no attempt is charged."""


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
"""Changes the priority of pending tasks."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An action on tasks that have been counted, but not changed.

    Attributes:
        wanted: The tasks, restricted to the statuses the action applies to.
        matched: Their number.
    """

    action: Action
    wanted: TaskFilter
    selection: Selection
    matched: int


@dataclass(slots=True)
class Outcome:
    """What an action has done so far; accurate even if it was interrupted.

    Attributes:
        operation_id: Its id in the audit log, and for `undo`.
        changed: Number of tasks changed.
        batches: Transactions that changed something.
        ids: The tasks changed; without ids in the filter, only the first thousand.
    """

    operation_id: UUID = field(default_factory=uuid4)
    changed: int = 0
    batches: int = 0
    ids: list[UUID] = field(default_factory=list)


async def plan(connection: Connection, action: Action, wanted: TaskFilter) -> Plan:
    """Count the tasks that an action would change.

    Args:
        connection: To the migrated database.
        action: What to do.
        wanted: To which tasks; those of other statuses are left out.
    """
    narrowed = wanted.only(*action.statuses)
    # Tasks that fail from now on, again or for the first time, are not part of the request.
    bounded = (
        replace(narrowed, until=timedelta(0))
        if action.statuses == ("failed",) and wanted.until is None
        else narrowed
    )
    chosen = await select(connection, bounded)
    return Plan(action, narrowed, chosen, await count_tasks(connection, narrowed, chosen, action.also))


@dataclass(frozen=True, slots=True)
class Run:
    """An action under way.

    Attributes:
        connection: To the migrated database, used by nothing else meanwhile.
        planned: The result of `plan`.
        by: Operator as ``user@host``.
        batch_size: Tasks per transaction.
        progress: Called after each batch with the number of tasks changed.
        outcome: Updated along the way, so that it also tells what an interrupted run has done.
    """

    connection: Connection
    planned: Plan
    by: str
    batch_size: int = BATCH
    progress: Callable[[int], None] = lambda changed: None
    outcome: Outcome = field(default_factory=Outcome)


async def carry_out(run: Run, *, limit: int | None = None) -> Outcome:
    """Carry out a plan, the oldest tasks first, on no more tasks than were counted.

    A cancellation (Ctrl-C) waits for the current batch. What was done until then stays done, and running it
    again continues with the rest.

    Args:
        run: The action; if called again, it continues.
        limit: Maximum number of tasks for this call.

    Raises:
        asyncpg.PostgresError, OSError, TimeoutError: see `failures.explained`.
    """
    outcome = run.outcome
    left = run.planned.matched - outcome.changed
    left = left if limit is None else min(left, limit)
    try:
        before = -1
        while left > 0 and outcome.changed > before:  # no progress: other sessions have locked the rest
            before = outcome.changed
            for branch in run.planned.selection.branches:
                left = await _walk(run, branch, left)
    except BaseException:
        if outcome.batches:
            with suppress(*EXPECTED_ERRORS):  # the database itself may be the cause
                await whole(_summarise(run, "interrupted"))
        raise
    if outcome.batches > 1 and limit is None:
        await whole(_summarise(run, "done"))
    return outcome


async def _walk(run: Run, branch: Branch, left: int) -> int:
    """Process one branch from beginning to end.

    Returns:
        How many tasks remain.
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
    parameters = Parameters(chosen.arguments)
    beyond = branch.beyond(place, "oldest", parameters) if place else "true"
    statement = _BATCH.format(
        time=branch.time or "NULL::timestamptz",
        where=f"{branch.where} AND {action.also} AND {beyond}",
        order=branch.ordered("oldest"),
        changes=action.changes,
        size=f"{parameters.add(size)}::int",
        **{name: f"{parameters.add(value)}::text" for name, value in _signature(run).items()},
    )
    async with run.connection.transaction():
        await run.connection.execute(PLAN)
        row = await run.connection.fetchrow(statement, *parameters)
    assert row is not None
    ids = row["ids"] or ()
    outcome = run.outcome
    outcome.changed += len(ids)
    outcome.batches += bool(ids)
    outcome.ids += ids if run.planned.wanted.ids is not None else ids[: BATCH - len(outcome.ids)]
    if ids:
        run.progress(outcome.changed)
    return _Batch(ids, row["chosen"], Cursor(row["last_time"], row["last_id"]) if row["chosen"] else None)


def _signature(run: Run) -> dict[str, str]:
    """Values that every audit row of a run contains."""
    action, wanted = run.planned.action, run.planned.wanted
    return {
        "operation": str(run.outcome.operation_id),
        "action": action.name,
        "done": action.done,
        "category": "bulk_operations" if wanted.ids is None else "queue_operations",
        "by": run.by,
        "filter": json.dumps(wanted.document()),
    }


# The tasks and audit rows of a batch share its timestamp, which tells `undo` that nothing has changed since.
_BATCH = """
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at, embedq_signature({by}) AS signed
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
           {operation}, m.signed || jsonb_strip_nulls(jsonb_build_object(
               'action', {action}, 'status', c.was, 'priority', c.priority_was, 'error', c.error_was))
    FROM changed c, moment m
), summed AS (
    INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, operation_id, metadata)
    SELECT embedq_uuid(), m.at, 'info', {category}, 'Operator: tasks ' || {done}, {operation},
           m.signed || jsonb_build_object('action', {action}, 'filter', {filter}::jsonb, 'count', n.n)
    FROM (SELECT count(*) AS n FROM changed) AS n, moment m WHERE n.n > 0
)
SELECT (SELECT array_agg(id) FROM changed) AS ids, (SELECT count(*) FROM chosen) AS chosen,
       (SELECT max(time) FROM chosen) AS last_time,
       (SELECT id FROM chosen ORDER BY time DESC, id DESC LIMIT 1) AS last_id
"""


async def _summarise(run: Run, state: str) -> None:
    signed = _signature(run)
    document = {
        "action": run.planned.action.name,
        "filter": run.planned.wanted.document(),
        "count": run.outcome.changed,
        "matched": run.planned.matched,
        "batches": run.outcome.batches,
        "state": state,
    }
    await run.connection.execute(
        """INSERT INTO embedding_audit_logs (id, timestamp, level, category, message, operation_id, metadata)
           VALUES (embedq_uuid(), clock_timestamp(), 'info', $1, 'Operator: in all tasks ' || $2::text,
                   $3, embedq_signature($4) || $5::jsonb)""",
        signed["category"],
        signed["done"],
        signed["operation"],
        signed["by"],
        json.dumps(document),
    )


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Finish a batch before a cancellation takes effect: it is either done and counted, or not begun.

    One that is not done within `WHOLE_S`, as it waits for a lock, is broken off: the database undoes it.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=WHOLE_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
