"""The queue, its workers and providers at a glance: a few index lookups, whatever the size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

import asyncpg

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.errors import MIGRATE, SchemaError
from embedq_worker.queue.words import REFUSED
from embedq_worker.schema.state import in_other_schema
from embedq_worker.schema.task_values import CANCELLED, PRIORITIES, STATUSES


class StatusCounts(NamedTuple):
    """Tasks by status."""

    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0


class QueueFigures(NamedTuple):
    """The queue in numbers.

    Attributes:
        counts: Tasks by status.
        total: Tasks of every status.
        by_priority: The same counts for high, normal and low.
        oldest_pending_at: When the oldest pending task was created.
        oldest_due_at: When the longest-waiting task became due; None if none is due.
        next_due_at: When the next task becomes due that is not yet (usually a retry).
        last_completed_at: When a task was last completed.
        cancelled: Tasks among the failed that an operator cancelled.
    """

    counts: StatusCounts
    total: int
    by_priority: Mapping[str, StatusCounts]
    oldest_pending_at: datetime | None
    oldest_due_at: datetime | None
    next_due_at: datetime | None
    last_completed_at: datetime | None
    cancelled: int = 0


class Liveness(StrEnum):
    """State of a worker, from its heartbeats."""

    ALIVE = "alive"
    SILENT = "silent"
    GONE = "gone"


class WorkerRow(NamedTuple):
    """A worker that has not deregistered.

    Attributes:
        liveness: From the age of its last heartbeat.
        state: As it reports itself: running or stopping.
        note: Why it is idle; empty if it is not.
        in_hand: Tasks it holds.
        provider: Key of its provider's breaker.
        settings: Its settings, without secrets.
        paused_at: Since when an operator has paused it alone; None if not.
        paused_by: That operator.
    """

    id: UUID
    host: str
    pid: int
    version: str
    state: str
    liveness: Liveness
    note: str
    in_hand: int
    processed: int
    succeeded: int
    failed: int
    provider: str
    settings: Mapping[str, object]
    started_at: datetime
    heartbeat_at: datetime
    paused_at: datetime | None
    paused_by: str | None

    @property
    def place(self) -> str:
        """``host/pid``."""
        return f"{self.host}/{self.pid}"


class Fleet(NamedTuple):
    """The public status row for all workers, which another program's worker updates too."""

    is_running: bool
    last_heartbeat: datetime | None
    tasks_processed: int
    tasks_succeeded: int
    tasks_failed: int
    started_at: datetime | None


class Control(NamedTuple):
    """Operators' orders to all workers; all that are alive may also have been paused one by one."""

    stopped_at: datetime | None
    stopped_by: str | None
    paused_at: datetime | None
    paused_by: str | None


class ProviderRow(NamedTuple):
    """The circuit breaker of a provider.

    Attributes:
        state: closed, cooling (after a 429) or open (no worker claims tasks for it).
        retry_at: When cooling ends, or the next probe is due.
        probing_since: Since when a worker has been probing it; None if none is.
    """

    key: str
    state: str
    kind: str
    reason: str
    advice: str
    failures: int
    opened_at: datetime | None
    retry_at: datetime | None
    probing_since: datetime | None = None


class Overview(NamedTuple):
    """All of it, at one moment.

    Attributes:
        at: The database's time.
        migrated: Our tables exist; without them, only `queue.counts` and `fleet` are filled.
        running: A worker is alive, and no stop is in force.
        providers: Those that workers use; without any worker, those that are not closed.
        read_only: Sessions like this one cannot write, whatever the privileges; see `access`.
    """

    at: datetime
    migrated: bool
    running: bool
    queue: QueueFigures
    workers: tuple[WorkerRow, ...]
    fleet: Fleet | None
    control: Control
    providers: tuple[ProviderRow, ...]
    read_only: bool = False

    @property
    def alive(self) -> tuple[WorkerRow, ...]:
        """The workers whose heartbeat is recent."""
        return tuple(row for row in self.workers if row.liveness is Liveness.ALIVE)

    @property
    def used(self) -> frozenset[str]:
        """Keys of the providers that workers use."""
        return frozenset(worker.provider for worker in self.workers)

    @property
    def served(self) -> frozenset[str]:
        """Keys of the providers that living workers use, and call again by themselves."""
        return frozenset(row.provider for row in self.alive)

    @property
    def refused(self) -> bool:
        """Whether the database refuses what every living worker wants to write."""
        notes = [row.note for row in self.alive]
        return bool(notes) and all(note.startswith(REFUSED) for note in notes)

    @property
    def held(self) -> tuple[ProviderRow, ...]:
        """Providers that workers use, but do not call at the moment: open or cooling."""
        return tuple(row for row in self.providers if row.state != "closed" and row.key in self.used)


async def overview(connection: Connection, settings: Settings) -> Overview:
    """Read the queue, its workers and providers, in one snapshot.

    Args:
        connection: To a database with the public tables; ours may be missing.
        settings: Of these, when a worker is presumed dead.

    Raises:
        SchemaError: There is no queue in this database.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        place = await connection.fetchrow(_PLACE)
        assert place is not None
        if not place["public"]:
            lacking = SchemaError("this database has no table embedding_tasks", MIGRATE)
            raise await in_other_schema(connection) or lacking
        migrated: bool = place["ours"]
        counts = await connection.fetch(_LIVE_COUNTS if migrated else _COUNTED)
        times = await connection.fetchrow(_TIMES, CANCELLED) if migrated else None
        busy = any(row["status"] == "processing" and row["n"] for row in counts)
        workers = await connection.fetch(_WORKERS, settings.dead_after_s, busy) if migrated else []
        control = await connection.fetchrow(_CONTROL, settings.dead_after_s) if migrated else None
        providers = await connection.fetch(_PROVIDERS) if migrated else []
        fleet = await connection.fetchrow(_FLEET, settings.dead_after_s)
    rows = tuple(_worker(row) for row in workers)
    orders = _orders(control, rows)
    return Overview(
        at=place["at"],
        migrated=migrated,
        running=orders.stopped_at is None
        and (
            any(row.liveness is Liveness.ALIVE for row in rows)
            or bool(fleet and fleet["serves"] and not (fleet["ahead"] and control and not control["served"]))
        ),
        queue=_figures(counts, times),
        workers=rows,
        fleet=_fleet(fleet) if fleet else None,
        control=orders,
        providers=tuple(ProviderRow(**row) for row in providers),
        read_only=place["read_only"],
    )


# The counts are exact once the rows from before the triggers have been counted; a function that a later
# migration creates shows that they have. Without sorts, the oldest task is the first in an index: the planner
# may prefer to read and sort all that are pending, if there were none when the table was analyzed.
_PLACE = """
SELECT clock_timestamp() AS at, to_regclass('embedding_tasks') IS NOT NULL AS public,
       to_regproc('embedq_worker_beat') IS NOT NULL
       AND to_regproc('embedq_provider_look') IS NOT NULL AS ours,
       pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on' AS read_only,
       set_config('enable_sort', 'off', true)
"""

_LIVE_COUNTS = "SELECT status, priority, n FROM embedq_live_counts"
_COUNTED = "SELECT status, priority, count(*) AS n FROM embedding_tasks GROUP BY status, priority"

_TIMES = """
SELECT (SELECT min(t.created_at) FROM (VALUES (1), (2), (3)) AS r(rank), LATERAL (
            SELECT created_at FROM embedding_tasks
            WHERE status = 'pending'
              AND (CASE priority WHEN 'high' THEN 1 WHEN 'normal' THEN 2 WHEN 'low' THEN 3 END) = r.rank
            ORDER BY created_at LIMIT 1) AS t) AS oldest_pending_at,
       (SELECT min(t.scheduled_at) FROM (VALUES (0), (1), (2)) AS r(rank), LATERAL (
            SELECT scheduled_at FROM embedding_tasks
            WHERE status = 'pending' AND embedq_rank(priority) = r.rank AND scheduled_at <= now()
            ORDER BY scheduled_at LIMIT 1) AS t) AS oldest_due_at,
       (SELECT min(t.scheduled_at) FROM (VALUES (0), (1), (2)) AS r(rank), LATERAL (
            SELECT scheduled_at FROM embedding_tasks
            WHERE status = 'pending' AND embedq_rank(priority) = r.rank AND scheduled_at > now()
            ORDER BY scheduled_at LIMIT 1) AS t) AS next_due_at,
       (SELECT completed_at FROM embedding_tasks
        WHERE status = 'completed' AND completed_at <= now()
        ORDER BY completed_at DESC LIMIT 1) AS last_completed_at,
       (SELECT coalesce(sum(n), 0)::bigint FROM embedq_live_failures
        WHERE fingerprint = (SELECT embedq_fingerprint($1))) AS cancelled
"""

# What a worker holds is counted, in one walk for all and only if there is any: what it said with its last
# heartbeat is seconds old.
_WORKERS = """
SELECT w.id, w.host, w.pid, w.version, w.state, w.note, w.processed, w.succeeded, w.failed, w.provider,
       w.settings, w.started_at, w.heartbeat_at, w.paused_at, w.paused_by,
       embedq_alive(w.state, w.heartbeat_at, make_interval(secs => $1)) AS alive,
       coalesce(h.tasks, 0) AS in_hand
FROM embedq_workers w
LEFT JOIN (SELECT worker_id, count(*)::int AS tasks FROM embedding_tasks
           WHERE $2::bool AND status = 'processing' AND claimed_at = processed_at
           GROUP BY worker_id) AS h ON h.worker_id = w.id
WHERE w.state IN ('running', 'stopping') ORDER BY w.started_at, w.id
"""

_CONTROL = """
SELECT stopped_at, stopped_by, paused_at, paused_by,
       (foreign_beat_at BETWEEN clock_timestamp() - make_interval(secs => $1)
                            AND clock_timestamp()) IS TRUE AS served
FROM embedq_control
"""

# The breaker of a provider that was given up stays as it was; it is told only while nobody uses another one.
# After a rate limit it closes with the next success, for which there may be no task: but requests are sent.
_PROVIDERS = """
WITH used AS (SELECT provider FROM embedq_workers WHERE state IN ('running', 'stopping'))
SELECT key,
       CASE WHEN state = 'cooling' AND retry_at <= clock_timestamp() THEN 'closed' ELSE state END AS state,
       kind, reason, advice, failures, opened_at, retry_at,
       CASE WHEN state = 'open' AND retry_at > clock_timestamp() THEN probing_since END AS probing_since
FROM embedq_providers
WHERE key IN (SELECT provider FROM used) OR state <> 'closed' AND NOT EXISTS (SELECT FROM used)
ORDER BY key
"""

# A heartbeat from the future is of before the server's clock was set back, unless another program beats by a
# clock of its own, which is ahead: embedq_control tells when it did, by the server's.
_FLEET = """
SELECT is_running, last_heartbeat, tasks_processed, tasks_succeeded, tasks_failed, started_at,
       is_running AND last_heartbeat > clock_timestamp() - make_interval(secs => $1) AS serves,
       last_heartbeat > clock_timestamp() + make_interval(secs => $1) AS ahead
FROM embedding_worker_status ORDER BY id LIMIT 1
"""


def _figures(rows: Iterable[asyncpg.Record], times: asyncpg.Record | None) -> QueueFigures:
    cells = [(row["status"], row["priority"], row["n"]) for row in rows]
    return QueueFigures(
        counts=_sums((status, n) for status, _, n in cells),
        total=sum(n for _, _, n in cells),
        by_priority={
            name: _sums((status, n) for status, priority, n in cells if priority == name)
            for name in PRIORITIES
        },
        oldest_pending_at=times["oldest_pending_at"] if times else None,
        oldest_due_at=times["oldest_due_at"] if times else None,
        next_due_at=times["next_due_at"] if times else None,
        last_completed_at=times["last_completed_at"] if times else None,
        cancelled=times["cancelled"] if times else 0,
    )


def _sums(cells: Iterable[tuple[str, int]]) -> StatusCounts:
    sums = dict.fromkeys(STATUSES, 0)
    for status, n in cells:
        if status in sums:
            sums[status] += n
    return StatusCounts(**sums)


def _orders(control: asyncpg.Record | None, workers: Sequence[WorkerRow]) -> Control:
    given = Control(*(control[name] if control else None for name in Control._fields))
    serving = [row for row in workers if row.liveness is Liveness.ALIVE and row.state == "running"]
    pauses = [(row.paused_at, row.paused_by) for row in serving if row.paused_at is not None]
    if given.paused_at is not None or not pauses or len(pauses) < len(serving):
        return given
    at, by = max(pauses, key=itemgetter(0))
    return given._replace(paused_at=at, paused_by=by)


def _worker(row: asyncpg.Record) -> WorkerRow:
    values = dict(row)
    alive = values.pop("alive")
    values["settings"] = json.loads(values["settings"])
    return WorkerRow(**values, liveness=Liveness.ALIVE if alive else Liveness.SILENT)


def _fleet(row: asyncpg.Record) -> Fleet:
    return Fleet(
        is_running=bool(row["is_running"]),
        last_heartbeat=row["last_heartbeat"],
        tasks_processed=row["tasks_processed"] or 0,
        tasks_succeeded=row["tasks_succeeded"] or 0,
        tasks_failed=row["tasks_failed"] or 0,
        started_at=row["started_at"],
    )
