"""Retention: delete completed tasks, audit rows, metrics and ended workers when they are old enough."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple
from uuid import UUID

import asyncpg

from embedq_worker.database.connections import SCAN_TIMEOUT_S, Connection, Pool
from embedq_worker.database.failures import one_line
from embedq_worker.database.locks import LOCK_CLASS
from embedq_worker.errors import EmbedqError
from embedq_worker.queue import operator_log

RETENTION_BATCH = 5_000
RETENTION_PAUSE_S = 0.2
MOST_HELD = 1_000
"""Rows of a kind that are found to be kept one by one; each takes a subtransaction or two, in every run."""


class _Rows(NamedTuple):
    """Rows to be deleted.

    Attributes:
        name: Of their number in `Cleaned`.
        expired: Condition; $1 is the minimum age in days.
        by: Time by which an index finds them; it may be null.
        lock: Leaves out rows that somebody has locked, where that can be.
    """

    name: str
    table: str
    expired: str
    by: str
    lock: str = ""


# now(), not clock_timestamp(): only a stable expression can bound an index scan.
_OLD = "< now() - $1 * interval '1 day'"
_FREE = "FOR UPDATE SKIP LOCKED"
_RETENTION = (
    _Rows("tasks", "embedding_tasks", f"status = 'completed' AND completed_at {_OLD}", "completed_at", _FREE),
    # Completed by a program that does not say when: not before the latest time on record.
    _Rows(
        "tasks",
        "embedding_tasks",
        f"""status = 'completed' AND completed_at IS NULL
            AND greatest(created_at, scheduled_at, processed_at) {_OLD}""",
        "completed_at",
        _FREE,
    ),
    _Rows("audit_rows", "embedding_audit_logs", f"timestamp {_OLD}", "timestamp"),
    _Rows("metrics", "performance_metrics", f"timestamp {_OLD}", "timestamp"),
    _Rows("workers", "embedq_workers", f"state IN ('stopped', 'dead') AND stopped_at {_OLD}", "stopped_at"),
)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Rows that retention deleted."""

    tasks: int
    audit_rows: int
    metrics: int
    workers: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.tasks + self.audit_rows + self.metrics + self.workers


class RowsHeld(EmbedqError):
    """Rows past the retention could not be deleted, because rows of other tables refer to them.

    Args:
        held: How many; if they are many, at least so many, and rows beside them are kept too.
        why: What the database says about one of them.
        cleaned: What was deleted.
    """

    def __init__(self, held: int, why: str, cleaned: Cleaned) -> None:
        number = f"{'at least ' if held > MOST_HELD else ''}{held:,}"
        super().__init__(
            f"old rows are kept because other tables refer to them: {number}, among them one of {why}",
            "delete what refers to them, or give that foreign key ON DELETE CASCADE or SET NULL",
        )
        self.cleaned = cleaned


async def count_expired(connection: Connection, *, days: int) -> Cleaned:
    """Count what `clean_up` would delete.

    Args:
        connection: To the migrated database.
        days: Minimum age in days.
    """
    counts = (f"(SELECT count(*) FROM {rows.table} WHERE {rows.expired})" for rows in _RETENTION)
    found = await connection.fetchrow(f"SELECT {', '.join(counts)}", days, timeout=SCAN_TIMEOUT_S)
    assert found is not None
    return _summed([int(number) for number in found.values()])


async def note_cleanup(connection: Connection, *, days: int, found: Cleaned, by: str) -> None:
    """Note in the audit log that an operator cleans up.

    Args:
        connection: To the migrated database.
        days: Minimum age in days.
        found: What is about to be deleted.
        by: Operator as ``user@host``.
    """
    await operator_log.note(connection, "cleanup", by, days=days, count=found.total, **asdict(found))


async def clean_up(
    pool: Pool,
    *,
    days: int,
    pause_s: float = RETENTION_PAUSE_S,
    progress: Callable[[Cleaned], None] = lambda deleted: None,
) -> Cleaned | None:
    """Delete completed tasks, audit rows, metrics and ended workers past the retention.

    Args:
        pool: To the migrated database.
        days: Minimum age in days.
        pause_s: Seconds between two batches, so that others get their turn.
        progress: Called after each batch with what is deleted so far.

    Returns:
        What was deleted. If another session is cleaning up, this ends early: None if nothing was deleted.

    Raises:
        RowsHeld: Other tables refer to some rows; the others were deleted, up to `MOST_HELD` of a kind.
        One of `failures.EXPECTED_ERRORS`: earlier batches stay deleted.
    """
    counts = [0] * len(_RETENTION)
    held, why = 0, ""
    for number, rows in enumerate(_RETENTION):
        after: asyncpg.Record | None = None
        kept: list[asyncpg.ForeignKeyViolationError] = []
        while True:
            batch = await _delete_batch(pool, rows, days, after, kept)
            if batch is None:
                return _summed(counts) if any(counts) else None
            counts[number] += batch.deleted
            progress(_summed(counts))
            if len(batch.found) < RETENTION_BATCH:
                break
            after = batch.found[-1]
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
        held += len(kept)
        why = why or next((f"{rows.table}: {one_line(error)}" for error in kept), "")
    if held:
        raise RowsHeld(held, why, _summed(counts))
    return _summed(counts)


def _summed(counts: Sequence[int]) -> Cleaned:
    """Numbers of rows in the order of _RETENTION, by what they are."""
    cleaned = dict.fromkeys((rows.name for rows in _RETENTION), 0)
    for rows, count in zip(_RETENTION, counts, strict=True):
        cleaned[rows.name] += count
    return Cleaned(**cleaned)


class _Batch(NamedTuple):
    """Rows found, and how many of them were deleted."""

    found: Sequence[asyncpg.Record]
    deleted: int


async def _delete_batch(
    pool: Pool,
    rows: _Rows,
    days: int,
    after: asyncpg.Record | None,
    held: list[asyncpg.ForeignKeyViolationError],
) -> _Batch | None:
    """Delete one batch; None if another session is cleaning up.

    Args:
        pool: To the migrated database.
        rows: What to delete.
        days: Minimum age.
        after: The last row of the batch before; what is held or locked is passed. None for the first batch.
        held: Receives an error for each row, or for rows beside each other, that other tables hold.
    """
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1, -5)", LOCK_CLASS):
            return None
        await connection.execute(
            "SELECT set_config('embedq.quiet', 'on', true), set_config('enable_seqscan', 'off', true)"
        )
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # to learn here which rows are held
        past, place = _past(rows.by, after)
        found = await connection.fetch(
            f"""SELECT {rows.by} AS place, id FROM {rows.table} WHERE {rows.expired} {past}
                ORDER BY {rows.by}, id LIMIT $2 {rows.lock}""",
            days,
            RETENTION_BATCH,
            *place,
        )
        return _Batch(found, await _delete(connection, rows.table, [row["id"] for row in found], held))


def _past(by: str, after: asyncpg.Record | None) -> tuple[str, Sequence[object]]:
    """The condition on what comes after a row, as an index can use it in any plan, and its parameters."""
    if after is None:
        return "", ()
    if after["place"] is None:
        return "AND id > $3", (after["id"],)
    return f"AND ({by}, id) > ($3, $4)", tuple(after)


async def _delete(
    connection: Connection, table: str, ids: Sequence[UUID], held: list[asyncpg.ForeignKeyViolationError]
) -> int:
    """Delete rows, halving them around those that are held while these are few; return how many went."""
    try:
        async with connection.transaction():
            done = await connection.execute(f"DELETE FROM {table} WHERE id = ANY ($1)", ids)
            return int(done.split()[-1])
    except asyncpg.ForeignKeyViolationError as error:
        if len(ids) == 1 or len(held) >= MOST_HELD:
            held.append(error)
            return 0
    middle = len(ids) // 2
    return await _delete(connection, table, ids[:middle], held) + await _delete(
        connection, table, ids[middle:], held
    )
