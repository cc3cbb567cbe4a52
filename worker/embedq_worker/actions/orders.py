"""An operator's orders to workers: to all of them, or to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from embedq_worker.configuration.settings import MOST_CONCURRENCY
from embedq_worker.database.connections import Connection
from embedq_worker.errors import UsageError


class Order(StrEnum):
    """An operator's order to all workers."""

    START = "start"
    STOP = "stop"
    STOP_NOW = "stop now"
    PAUSE = "pause"
    RESUME = "resume"


async def command(connection: Connection, order: Order, by: str) -> list[UUID]:
    """Give all workers an order, and note it in the audit log.

    Args:
        connection: To the migrated database.
        order: What they are to do.
        by: Operator as ``user@host``.

    Returns:
        For a stop, the workers told to exit, including silent ones; empty for other orders.
    """
    rows = await connection.fetch("SELECT embedq_command($1, $2) AS id", order.value, by)
    return [row["id"] for row in rows]


async def set_concurrency(connection: Connection, worker: UUID, concurrency: int, by: str) -> bool:
    """Change the concurrency of one worker, on any host, until it exits; the audit log notes it.

    The worker is notified at once, does not pause, and finishes what it holds.

    Args:
        connection: To the migrated database.
        worker: Its id.
        concurrency: As EMBEDDING_CONCURRENT_WORKERS.
        by: Operator as ``user@host``.

    Returns:
        False if no such worker is running.

    Raises:
        UsageError: The concurrency is out of range.
    """
    if not 1 <= concurrency <= MOST_CONCURRENCY:
        raise UsageError(f"the concurrency of a worker is 1 to {MOST_CONCURRENCY}, not {concurrency}")
    heard: bool = await connection.fetchval(_ORDER, worker, concurrency, None, None, by)
    return heard


async def stop_worker(connection: Connection, worker: UUID, *, force: bool, by: str) -> bool:
    """Tell one worker to exit, on any host; it does not affect other workers or those started later.

    Args:
        connection: To the migrated database.
        worker: Its id.
        force: Exit at once and return what it holds; otherwise finish that within the grace period.
        by: Operator as ``user@host``.

    Returns:
        False if no such worker is running. `asked_workers` tells what became of it.
    """
    heard: bool = await connection.fetchval(_ORDER, worker, None, "force" if force else "graceful", None, by)
    return heard


async def pause_worker(connection: Connection, worker: UUID, *, pause: bool, by: str) -> bool:
    """Have one worker, on any host, claim no more tasks, or claim again; the audit log notes it.

    It is notified at once, and finishes what it holds. `Order.RESUME` lifts this too.

    Args:
        connection: To the migrated database.
        worker: Its id.
        pause: Claim nothing; otherwise, claim again.
        by: Operator as ``user@host``.

    Returns:
        False if no such worker is running.
    """
    heard: bool = await connection.fetchval(_ORDER, worker, None, None, pause, by)
    return heard


_ORDER = "SELECT embedq_worker_order($1, $2, $3, $4, $5)"


@dataclass(frozen=True, slots=True)
class AskedWorker:
    """A worker that was told to exit.

    Attributes:
        place: ``host/pid``.
        state: As reported by the worker itself, or ``dead`` if others declared it so.
        silent: It has not exited, and its heartbeats have stopped.
        in_hand: Tasks it held, as last reported.
    """

    id: UUID
    place: str
    state: str
    silent: bool
    in_hand: int

    @property
    def ended(self) -> bool:
        """Whether it has exited or was declared dead."""
        return self.state in ("stopped", "dead")


async def asked_workers(
    connection: Connection, workers: Sequence[UUID], *, dead_s: float
) -> list[AskedWorker]:
    """What became of workers that were told to exit.

    Args:
        connection: To the migrated database.
        workers: Their ids.
        dead_s: Seconds without a heartbeat after which a worker is silent.
    """
    rows = await connection.fetch(
        """SELECT id, host || '/' || pid AS place, state, in_hand,
                  state IN ('running', 'stopping')
                  AND NOT embedq_alive(state, heartbeat_at, make_interval(secs => $2)) AS silent
           FROM embedq_workers WHERE id = ANY ($1::uuid[]) ORDER BY host, pid, id""",
        list(workers),
        dead_s,
    )
    return [AskedWorker(**row) for row in rows]
