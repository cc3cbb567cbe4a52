"""Workers as the database knows them: entering, heartbeats, orders, and what dead ones left behind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from embedq_worker import __version__
from embedq_worker.database.connections import Connection, Pool
from embedq_worker.errors import UsageError
from embedq_worker.host import HostIdentity
from embedq_worker.queue.claims import Scope
from embedq_worker.settings import MOST_CONCURRENCY


@dataclass(frozen=True, slots=True)
class Beat:
    """What a worker hears when it beats.

    Attributes:
        known: False where it was declared dead meanwhile: it has to enter again.
        block: ``stopped`` or ``paused`` while nobody may claim; empty otherwise.
        block_since: Since when.
        block_by: Who said so.
        stop_asked: ``graceful`` or ``force`` where this worker is asked to end; empty otherwise.
        concurrency: Batches it is to work on at once, by an operator; None where nobody said so.
    """

    known: bool
    block: str
    block_since: datetime | None
    block_by: str
    stop_asked: str
    concurrency: int | None


@dataclass(frozen=True, slots=True)
class Rescued:
    """A task taken back from a worker that is gone, or that held it too long."""

    task_id: UUID
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is left for a worker of a scope.

    Attributes:
        more: A pending task is due, or will be within the time asked about.
        next_s: Seconds until the next task that is not due yet; None where there is none.
    """

    more: bool
    next_s: float | None


class Order(StrEnum):
    """What an operator says to all workers."""

    START = "start"
    STOP = "stop"
    STOP_NOW = "stop now"
    PAUSE = "pause"
    RESUME = "resume"


async def enter(pool: Pool, scope: Scope, host: HostIdentity, settings: Mapping[str, object]) -> None:
    """Make the worker known; also after it was declared dead.

    Args:
        pool: To the migrated database.
        scope: Of the worker.
        host: Where it runs.
        settings: Without secrets, for the list of workers.
    """
    await pool.execute(
        "SELECT embedq_worker_start($1, $2, $3, $4, $5, $6, $7)",
        scope.worker,
        host.name,
        host.pid,
        host.key,
        __version__,
        scope.provider,
        json.dumps(settings),
    )


async def bury_local_dead(pool: Pool, host: HostIdentity) -> int:
    """Declare dead the workers of this host whose processes are gone, without waiting for their silence.

    Returns:
        How many there were.
    """
    rows = await pool.fetch(
        "SELECT id, pid FROM embedq_workers WHERE state IN ('running', 'stopping') AND host_key = $1",
        host.key,
    )
    gone = [row["id"] for row in rows if not host.has_process(row["pid"])]
    if gone:
        await pool.execute(
            """UPDATE embedq_workers
               SET state = 'dead', stopped_at = clock_timestamp(), note = 'process is gone'
               WHERE id = ANY ($1::uuid[]) AND state IN ('running', 'stopping')""",
            gone,
        )
    return len(gone)


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
    """Say that the worker lives, and what it did since the last beat.

    Args:
        pool: To the migrated database.
        worker: Its id.
        state: ``running`` or ``stopping``.
        note: Why it is idle; empty when it is not.
        in_hand: Tasks it holds now.
        succeeded: Tasks completed since the last beat.
        failed: Tasks failed for good since the last beat.
        concurrency: Batches it works on at once; None: as it said before.
    """
    row = await pool.fetchrow(
        "SELECT * FROM embedq_worker_report($1, $2, $3, $4, $5, $6, $7)",
        worker,
        state,
        note,
        in_hand,
        succeeded,
        failed,
        concurrency,
    )
    assert row is not None
    return Beat(
        row["known"],
        row["block"] or "",
        row["block_since"],
        row["block_by"] or "",
        row["stop_asked"] or "",
        row["concurrency"],
    )


async def leave(pool: Pool, worker: UUID, reason: str) -> None:
    """Sign the worker off.

    Args:
        pool: To the migrated database.
        worker: Its id.
        reason: Why it ends; for the list of workers and the audit log.
    """
    await pool.execute("SELECT embedq_worker_stop($1, $2)", worker, reason)


async def rescue(pool: Pool, *, dead_s: float, stuck_s: float, limit: int) -> list[Rescued]:
    """Take back what no living worker holds; nothing while another caller does it.

    Args:
        pool: To the migrated database.
        dead_s: Seconds of silence after which a worker counts as dead.
        stuck_s: Age in seconds above which any claim is stuck.
        limit: Tasks at most; call again while it comes back full.
    """
    rows = await pool.fetch(
        "SELECT * FROM embedq_rescue($1, $2, $3)", round(dead_s * 1000), round(stuck_s * 1000), limit
    )
    return [Rescued(row["task_id"], row["outcome"], row["reason"]) for row in rows]


async def disown(pool: Pool, worker: UUID, in_hand: Iterable[UUID], *, older_s: float) -> int:
    """Give back claims of this worker that it does not know of.

    Args:
        pool: To the migrated database.
        worker: Its id.
        in_hand: Tasks that it does know of.
        older_s: Claims younger than this may still be on their way.

    Returns:
        How many there were.
    """
    return int(
        await pool.fetchval("SELECT embedq_disown($1, $2, $3)", worker, list(in_hand), round(older_s * 1000))
    )


async def outlook(
    pool: Pool, priorities: Sequence[str] | None, folders: Sequence[str] | None, *, within_s: float
) -> Outlook:
    """Ask what is left for a worker of this scope.

    Args:
        pool: To the migrated database.
        priorities: Those it serves; None for all.
        folders: Those it serves, with what is below; None for all.
        within_s: Seconds ahead; what becomes due within them counts as left.
    """
    row = await pool.fetchrow(
        "SELECT more, next_ms FROM embedq_outlook($1, $2, $3)",
        None if priorities is None else list(priorities),
        None if folders is None else list(folders),
        round(within_s * 1000),
    )
    assert row is not None
    return Outlook(row["more"], None if row["next_ms"] is None else max(row["next_ms"], 0) / 1000)


async def command(connection: Connection, order: Order, by: str) -> list[UUID]:
    """Give all workers an order; in the audit log with who gave it.

    Args:
        connection: To the migrated database.
        order: What they are to do.
        by: Operator as ``user@host``.

    Returns:
        The workers that a stop asked to end, silent ones too; none for other orders.
    """
    rows = await connection.fetch("SELECT embedq_command($1, $2) AS id", order.value, by)
    return [row["id"] for row in rows]


async def set_concurrency(connection: Connection, worker: UUID, concurrency: int, by: str) -> bool:
    """Let one worker work on more or fewer batches at once, from now on until it ends, on any host.

    It hears at once, goes on without a pause, and finishes what it holds; in the audit log with who said so.

    Args:
        connection: To the migrated database.
        worker: Its id.
        concurrency: As EMBEDDING_CONCURRENT_WORKERS.
        by: Operator as ``user@host``.

    Returns:
        False where no such worker runs.

    Raises:
        UsageError: No worker can have so many.
    """
    if not 1 <= concurrency <= MOST_CONCURRENCY:
        raise UsageError(f"a worker works on 1 to {MOST_CONCURRENCY} batches at once, not on {concurrency}")
    heard: bool = await connection.fetchval(_ORDER, worker, concurrency, None, by)
    return heard


async def stop_worker(connection: Connection, worker: UUID, *, force: bool, by: str) -> bool:
    """Ask one worker to end, on any host; the others go on, and one that is started later does too.

    Args:
        connection: To the migrated database.
        worker: Its id.
        force: At once, giving back what it holds; else it finishes that within its grace time.
        by: Operator as ``user@host``.

    Returns:
        False where no such worker runs. What became of it tell `asked_workers`.
    """
    heard: bool = await connection.fetchval(_ORDER, worker, None, "force" if force else "graceful", by)
    return heard


_ORDER = "SELECT embedq_worker_order($1, $2, $3, $4)"


@dataclass(frozen=True, slots=True)
class AskedWorker:
    """A worker that was asked to end.

    Attributes:
        place: ``host/pid``.
        state: As it said itself, ``dead`` where others said so.
        silent: It has not ended, and has not beaten for longer than a living worker would not.
        in_hand: Tasks it held by its own word.
    """

    id: UUID
    place: str
    state: str
    silent: bool
    in_hand: int

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self.state in ("stopped", "dead")


async def asked_workers(
    connection: Connection, workers: Sequence[UUID], *, dead_s: float
) -> list[AskedWorker]:
    """What became of workers that were asked to end.

    Args:
        connection: To the migrated database.
        workers: Their ids.
        dead_s: Seconds without heartbeat after which a worker is silent.
    """
    rows = await connection.fetch(
        """SELECT id, host || '/' || pid AS place, state, in_hand,
                  state IN ('running', 'stopping')
                  AND heartbeat_at < clock_timestamp() - make_interval(secs => $2) AS silent
           FROM embedq_workers WHERE id = ANY ($1::uuid[]) ORDER BY host, pid, id""",
        list(workers),
        dead_s,
    )
    return [AskedWorker(**row) for row in rows]


async def declare_dead(connection: Connection, workers: Sequence[UUID], note: str) -> None:
    """Strike off workers that did not end; one that lives after all enters again, and hears its order.

    Args:
        connection: To the migrated database.
        workers: Their ids; one that has signed off stays as it is.
        note: Why; for the list of workers.
    """
    await connection.execute(
        """UPDATE embedq_workers SET state = 'dead', stopped_at = clock_timestamp(), note = $2
           WHERE id = ANY ($1::uuid[]) AND state IN ('running', 'stopping')""",
        list(workers),
        note,
    )
