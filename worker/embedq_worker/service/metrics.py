"""Measurements of a worker, collected in memory and written as a few rows per interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID

from embedq_worker.database.connections import Pool
from embedq_worker.service.pipeline import BatchReport

if TYPE_CHECKING:
    from embedq_worker.service.exposition import WorkerTelemetry


@dataclass(slots=True)
class _Interval:
    """What happened since the last sample."""

    began: float = field(default_factory=monotonic)
    succeeded: int = 0
    failed: int = 0
    requests: int = 0
    request_s: float = 0.0
    claims: int = 0
    claim_s: float = 0.0
    busy_s: float = 0.0

    def joined(self, later: _Interval) -> _Interval:
        """This interval and the next combined."""
        sums = {
            item.name: getattr(self, item.name) + getattr(later, item.name)
            for item in fields(self)
            if item.name != "began"
        }
        return _Interval(began=self.began, **sums)


class WorkerMetrics:
    """Adds up what a worker does.

    Args:
        worker: Its id, stored with each row.
        slots: Concurrent batches, against which utilization is measured.
        telemetry: Receives each measurement too.
    """

    def __init__(self, worker: UUID, slots: int, telemetry: WorkerTelemetry | None = None) -> None:
        self._worker = worker
        self._slots = slots
        self._telemetry = telemetry
        self._interval = _Interval()

    def batch(self, report: BatchReport, seconds: float) -> None:
        """Add a batch and the seconds it kept a slot busy."""
        now = self._interval
        now.succeeded += report.succeeded
        now.failed += report.failed
        now.busy_s += seconds
        for request in report.requests:
            now.requests += 1
            now.request_s += request.seconds
        if self._telemetry:
            self._telemetry.batch(report, seconds)

    def claim(self, seconds: float, tasks: int) -> None:
        """Add the seconds a claim took and the number of tasks it returned."""
        self._interval.claims += 1
        self._interval.claim_s += seconds
        if self._telemetry:
            self._telemetry.claim(seconds, tasks)

    def resize(self, slots: int) -> None:
        """Change the number of concurrent batches."""
        self._slots = slots
        if self._telemetry:
            self._telemetry.resize(slots)

    async def write(self, pool: Pool) -> None:
        """Write a sample of the interval and begin the next; an idle interval writes only the depth.

        Raises:
            One of `failures.EXPECTED_ERRORS`: the interval continues.
        """
        written, self._interval = self._interval, _Interval()
        try:
            await self._insert(pool, self._rows(written, monotonic()))
        except BaseException:
            self._interval = written.joined(self._interval)
            raise

    async def _insert(self, pool: Pool, rows: Sequence[_Row]) -> None:
        await pool.execute(
            """INSERT INTO performance_metrics (id, timestamp, metric_type, value, unit, metadata)
               SELECT embedq_uuid(), clock_timestamp(), m.type, m.value, m.unit,
                      jsonb_build_object('worker', $1::uuid, 'n', m.n)
               FROM unnest($2::text[], $3::float8[], $4::text[], $5::int[]) AS m(type, value, unit, n)
               UNION ALL
               SELECT embedq_uuid(), clock_timestamp(), 'queue_depth', coalesce(sum(n), 0), 'tasks',
                      jsonb_build_object('worker', $1::uuid)
               FROM embedq_live_counts WHERE status IN ('pending', 'processing')""",
            self._worker,
            [row.type for row in rows],
            [row.value for row in rows],
            [row.unit for row in rows],
            [row.count for row in rows],
        )

    def _rows(self, of: _Interval, now: float) -> Sequence[_Row]:
        elapsed = max(now - of.began, 0.001)
        ended = of.succeeded + of.failed
        rows = []
        if of.busy_s:
            rows.append(
                _Row("worker_utilization", min(of.busy_s / elapsed / self._slots, 1.0), "ratio", ended)
            )
        if ended:
            rows.append(_Row("queue_throughput", ended / elapsed * 60, "tasks/min", ended))
            rows.append(_Row("error_rate", of.failed / ended, "ratio", ended))
        if of.requests:
            mean_ms = of.request_s / of.requests * 1000
            rows.append(_Row("embedding_generation_time", mean_ms, "ms", of.requests))
        if of.busy_s and of.claims:
            rows.append(_Row("database_query_time", of.claim_s / of.claims * 1000, "ms", of.claims))
        return rows


@dataclass(frozen=True, slots=True)
class _Row:
    type: str
    value: float
    unit: str
    count: int
