"""Workers in the database: registration, heartbeats, and taking tasks back from dead ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from embedq_worker import __version__
from embedq_worker.database.connections import Connection, Pool
from embedq_worker.database.encoding import encodable
from embedq_worker.process.host import HostIdentity
from embedq_worker.queue.claims import Scope


@dataclass(frozen=True, slots=True)
class Beat:
    """The answer to a heartbeat.

    Attributes:
        known: False if the worker has been declared dead: it must register again.
        block: ``stopped`` or ``paused`` while no worker may claim, or this one may not; empty otherwise.
        block_since: Since when.
        block_by: Operator who ordered that.
        stop_asked: ``graceful`` or ``force`` if this worker is to exit; empty otherwise.
        concurrency: Concurrent batches an operator has ordered for it; None for no order.
    """

    known: bool
    block: str
    block_since: datetime | None
    block_by: str
    stop_asked: str
    concurrency: int | None


@dataclass(frozen=True, slots=True)
class Rescued:
    """A task taken back from a worker that is gone or held it for too long."""

    task_id: UUID
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """What remains for a worker of a scope.

    Attributes:
        more: A pending task is due, or will be within the time asked about.
        next_s: Seconds until the next task not yet due; None if there is none.
    """

    more: bool
    next_s: float | None


async def enter(
    pool: Pool,
    scope: Scope,
    host: HostIdentity,
    settings: Mapping[str, object],
    *,
    succeeded: int = 0,
    failed: int = 0,
) -> None:
    """Register the worker, also again after it was declared dead.

    Args:
        pool: To the migrated database.
        scope: Scope of the worker.
        host: Where it runs.
        settings: Its settings without secrets, for the list of workers.
        succeeded: Tasks completed that it has reported: its row, if it was deleted, no longer tells.
        failed: Tasks failed permanently that it has reported.
    """
    await pool.execute(
        "SELECT embedq_worker_start($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        scope.worker,
        host.name,
        host.pid,
        host.key,
        __version__,
        scope.provider,
        json.dumps(settings),
        succeeded,
        failed,
    )


async def declare_local_dead(pool: Pool, host: HostIdentity) -> None:
    """Declare workers of this host dead whose processes are gone, without waiting for their heartbeats."""
    rows = await pool.fetch(
        "SELECT id, pid FROM embedq_workers WHERE state IN ('running', 'stopping') AND host_key = $1",
        host.key,
    )
    gone = [row["id"] for row in rows if not host.has_process(row["pid"])]
    if gone:
        await declare_dead(pool, gone, "process is gone")


async def declare_dead(database: Pool | Connection, workers: Sequence[UUID], note: str) -> None:
    """Declare workers dead that did not exit; one that lives after all registers again and gets its order.

    Args:
        database: The migrated database.
        workers: Their ids; those that have deregistered are left as they are.
        note: Why; for the list of workers.
    """
    await database.execute(
        """UPDATE embedq_workers SET state = 'dead', stopped_at = clock_timestamp(), note = $2
           WHERE id = ANY ($1::uuid[]) AND state IN ('running', 'stopping')""",
        workers,
        note,
    )


async def beat(
    pool: Pool,
    worker: UUID,
    *,
    state: str,
    note: str,
    in_hand: int,
    succeeded: int,
    failed: int,
    concurrency: int | None = None,
) -> Beat:
    """Send a heartbeat, with what the worker has done so far: sent twice, it is counted once.

    Args:
        pool: To the migrated database.
        worker: Its id.
        state: ``running`` or ``stopping``.
        note: Why it is idle; empty if it is not.
        in_hand: Tasks it holds now.
        succeeded: Tasks completed since the worker started.
        failed: Tasks failed permanently since the worker started.
        concurrency: Batches it works on concurrently; None if unchanged.
    """
    row = await encodable(
        lambda words: pool.fetchrow(
            "SELECT * FROM embedq_worker_beat($1, $2, $3, $4, $5, $6, $7)",
            worker,
            state,
            words(note),
            in_hand,
            succeeded,
            failed,
            concurrency,
        )
    )
    assert row is not None
    return Beat(**row)


async def leave(pool: Pool, worker: UUID, reason: str) -> None:
    """Deregister the worker.

    Args:
        pool: To the migrated database.
        worker: Its id.
        reason: Why it exits; for the list of workers and the audit log.
    """
    await pool.execute("SELECT embedq_worker_stop($1, $2)", worker, reason)


async def rescue(pool: Pool, *, dead_s: float, stuck_s: float, limit: int) -> list[Rescued]:
    """Take back tasks that no living worker holds; does nothing while another session is doing it.

    Args:
        pool: To the migrated database.
        dead_s: Seconds without a heartbeat after which a worker is presumed dead.
        stuck_s: Age in seconds above which any claim is stuck.
        limit: Maximum number of tasks; call again while it is reached.
    """
    rows = await pool.fetch(
        "SELECT * FROM embedq_rescue($1, $2, $3)", round(dead_s * 1000), round(stuck_s * 1000), limit
    )
    return [Rescued(row["task_id"], row["outcome"], row["reason"]) for row in rows]


async def disown(pool: Pool, worker: UUID, in_hand: Iterable[UUID], *, older_s: float) -> int:
    """Return claims of this worker that it does not know of.

    Args:
        pool: To the migrated database.
        worker: Its id.
        in_hand: Tasks that it knows it holds.
        older_s: Minimum age of the claims; the response to a younger one may still be on its way.

    Returns:
        How many there were.
    """
    return int(
        await pool.fetchval("SELECT embedq_disown($1, $2, $3)", worker, list(in_hand), round(older_s * 1000))
    )


async def outlook(pool: Pool, scope: Scope, *, within_s: float) -> Outlook:
    """Ask what remains for a worker.

    Args:
        pool: To the migrated database.
        scope: What it processes.
        within_s: Seconds; a task that becomes due within them counts as remaining.
    """
    row = await pool.fetchrow(
        "SELECT more, next_ms FROM embedq_outlook($1, $2, $3)",
        scope.priorities,
        scope.folders,
        round(within_s * 1000),
    )
    assert row is not None
    return Outlook(row["more"], None if row["next_ms"] is None else row["next_ms"] / 1000)
