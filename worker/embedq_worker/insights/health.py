"""Whether the queue is served as it should be: what is wrong, by how much, and what to do about it.

Cheap enough to be asked every few seconds: index probes, the tasks in hand, and a bounded number of what
ended last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from embedq_worker.database.connections import Connection
from embedq_worker.errors import SchemaError
from embedq_worker.insights.overview import Control, Liveness, Overview, overview
from embedq_worker.insights.vitals import Ended, Vitals, vitals
from embedq_worker.schema import migrations
from embedq_worker.settings import Settings
from embedq_worker.shares import percentage, rounded
from embedq_worker.text import age

LEAST_FAILURES = 5
"""One failure among two tasks is no failure rate."""

LEAST_DEAD_ROWS = 10_000
"""A small table may be all dead rows between two vacuums."""

SETTLED_S = 60.0
"""A claim younger than this is no sign of a stall: the workers may have been resumed just now."""


class Code(StrEnum):
    """What can be wrong; scripts know these words."""

    SCHEMA = "schema"
    STOPPED = "stopped"
    PAUSED = "paused"
    NO_WORKER = "no_worker"
    PROVIDER_OPEN = "provider_open"
    BACKLOG = "backlog"
    OLDEST_PENDING = "oldest_pending"
    STALLED = "stalled"
    STUCK = "stuck"
    FAILURE_RATE_HOUR = "failure_rate_hour"
    FAILURE_RATE_DAY = "failure_rate_day"
    COUNT_DRIFT = "count_drift"
    DEAD_ROWS = "dead_rows"


class Issue(NamedTuple):
    """Something that is not as it should be.

    Attributes:
        code: Names it; one of `Code`, or what a deeper search calls it.
        message: What is wrong, one line.
        advice: What to do about it, one line.
        measured: The value that is objected to.
        threshold: The value up to which it would be right.
        unit: Of both: ``tasks``, ``articles``, ``s``, ``ratio``, ``counts``.
    """

    code: str
    message: str
    advice: str
    measured: float
    threshold: float
    unit: str


class Measure(NamedTuple):
    """A value that was looked at, objected to or not.

    Attributes:
        threshold: From which on it is objected to; None where nothing is.
    """

    name: str
    value: float
    threshold: float | None
    unit: str


class Health(NamedTuple):
    """The verdict.

    Attributes:
        at: The database's time.
        healthy: There are no issues.
        issues: The graver ones first.
        measures: What was looked at; empty where the schema lacks our tables.
    """

    at: datetime
    healthy: bool
    issues: tuple[Issue, ...]
    measures: tuple[Measure, ...]


async def health(connection: Connection, settings: Settings) -> Health:
    """Look for everything that an operator should know of.

    Args:
        connection: To the database, migrated or not.
        settings: Thresholds, and how long a worker may be silent.
    """
    issues = await _schema(connection)
    try:
        seen = await overview(connection, settings)
    except SchemaError:  # not even the public tables are there, which is an issue already
        return Health(await connection.fetchval("SELECT clock_timestamp()"), False, tuple(issues), ())
    if not seen.migrated:
        missing = Issue(
            Code.SCHEMA, "functions of embedq are missing", "run: embedq-tui migrate verify", 1, 0, "counts"
        )
        return Health(seen.at, False, tuple(issues or [missing]), ())
    found = _Findings(seen, await vitals(connection, settings), settings)
    issues += found.issues()
    return Health(seen.at, not issues, tuple(issues), found.measures())


def _tasks(number: int) -> str:
    return f"{number:,} {'task' if number == 1 else 'tasks'}"


def orders(control: Control, at: datetime) -> Iterator[Issue]:
    """What an operator said to all workers, as long as it holds.

    Args:
        control: As it was read.
        at: The database's time.
    """
    for code, since, by, remedy in (
        (Code.STOPPED, control.stopped_at, control.stopped_by, "start"),
        (Code.PAUSED, control.paused_at, control.paused_by, "resume"),
    ):
        if since is not None:
            seconds = max((at - since).total_seconds(), 0.0)
            yield Issue(
                code,
                f"the workers were {code} {age(seconds)} ago by {by or 'somebody'}",
                f"lift it: embedq-tui {remedy}",
                round(seconds, 1),
                0,
                "s",
            )


async def _schema(connection: Connection) -> list[Issue]:
    try:
        await migrations.require_current(connection)
    except SchemaError as error:
        return [Issue(Code.SCHEMA, error.message, error.advice, 1, 0, "counts")]
    return []


@dataclass(frozen=True, slots=True)
class _Findings:
    """What was read, and what is to be said of it."""

    seen: Overview
    facts: Vitals
    settings: Settings

    def issues(self) -> Iterator[Issue]:
        """The graver ones first."""
        yield from orders(self.seen.control, self.seen.at)
        yield from self._workers()
        yield from self._providers()
        yield from self._queue()
        yield from self._stall()
        yield from self._failures(Code.FAILURE_RATE_HOUR, 3_600, self.facts.hour)
        yield from self._failures(Code.FAILURE_RATE_DAY, 86_400, self.facts.day)
        yield from self._table()

    def measures(self) -> tuple[Measure, ...]:
        """What was looked at."""
        settings, facts = self.settings, self.facts
        failures = settings.health_failure_rate
        alive = sum(worker.liveness is Liveness.ALIVE for worker in self.seen.workers)
        return (
            Measure("pending", self.seen.queue.counts.pending, settings.health_backlog, "tasks"),
            Measure("processing", self.seen.queue.counts.processing, None, "tasks"),
            Measure("oldest_pending", round(self._waits_s(), 1), settings.health_wait_s, "s"),
            Measure("idle", round(self._idle_s(), 1), settings.health_stall_s, "s"),
            Measure("stuck", facts.stuck, settings.health_stuck, "tasks"),
            Measure("failure_rate_hour", rounded(facts.hour.failure_rate), failures, "ratio"),
            Measure("failure_rate_day", rounded(facts.day.failure_rate), failures, "ratio"),
            Measure("dead_rows", rounded(facts.dead_share), settings.health_dead_rows, "ratio"),
            Measure("workers", alive, None, "counts"),
        )

    # -- who serves

    def _workers(self) -> Iterator[Issue]:
        if self.seen.running or self.seen.control.stopped_at is not None or not self._has_work():
            return
        silent = len(self.seen.workers)
        yield Issue(
            Code.NO_WORKER,
            "no worker beats and tasks are due" + (f"; {silent} fell silent" if silent else ""),
            "start one: embedq-worker; one that runs and falls silent tells why in its log",
            0,
            1,
            "counts",
        )

    def _providers(self) -> Iterator[Issue]:
        used = {worker.provider for worker in self.seen.workers}
        for provider in self.seen.providers:
            if provider.state == "open" and provider.key in used:
                seconds = self._age_s(provider.opened_at)
                yield Issue(
                    Code.PROVIDER_OPEN,
                    f"for {age(seconds)} nothing has been sent to {provider.key}: {provider.reason}",
                    provider.advice or "it is probed and taken up again by itself; embedq-tui check tries it",
                    round(seconds, 1),
                    0,
                    "s",
                )

    # -- what waits

    def _queue(self) -> Iterator[Issue]:
        pending, most = self.seen.queue.counts.pending, self.settings.health_backlog
        if pending > most:
            yield Issue(
                Code.BACKLOG,
                f"{_tasks(pending)} pending, {most:,} allowed",
                "more workers or a bigger EMBEDDING_CONCURRENT_WORKERS; embedq-tui metrics shows the pace",
                pending,
                most,
                "tasks",
            )
        waits_s, longest = self._waits_s(), self.settings.health_wait_s
        if waits_s > longest:
            yield Issue(
                Code.OLDEST_PENDING,
                f"a task has been due for {age(waits_s)} and nobody took it, {age(longest)} are allowed",
                "do the workers serve its priority and folder? embedq-tui status shows what they serve",
                round(waits_s, 1),
                longest,
                "s",
            )
        if self.facts.stuck > self.settings.health_stuck:
            yield Issue(
                Code.STUCK,
                f"{_tasks(self.facts.stuck)} in hands that will not finish what they hold",
                "a running worker takes them back in a moment; or: embedq-tui reset-stuck",
                self.facts.stuck,
                self.settings.health_stuck,
                "tasks",
            )

    def _stall(self) -> Iterator[Issue]:
        idle_s, longest = self._idle_s(), self.settings.health_stall_s
        if idle_s > longest:
            held = self.seen.queue.counts.processing
            yield Issue(
                Code.STALLED,
                f"nothing has ended for {age(idle_s)}, with {_tasks(held)} in hand",
                "the provider hangs or is too slow: embedq-tui check; then look at the log of the workers",
                round(idle_s, 1),
                longest,
                "s",
            )

    # -- what ended

    def _failures(self, code: Code, window_s: int, last: Ended) -> Iterator[Issue]:
        most = self.settings.health_failure_rate
        if last.failed >= LEAST_FAILURES and last.failure_rate > most:
            ended = last.completed + last.failed
            yield Issue(
                code,
                f"{percentage(last.failure_rate, 1)} failed of the {ended:,} tasks that ended in the last "
                f"{age(min(last.seconds, window_s))}, {percentage(most, 1)} are allowed",
                "why: embedq-tui failed --details",
                rounded(last.failure_rate),
                most,
                "ratio",
            )

    # -- how it is kept

    def _table(self) -> Iterator[Issue]:
        if not self.facts.counted or self.facts.below_zero:
            reason = "a count is below zero" if self.facts.counted else "a counting trigger is missing"
            yield Issue(
                Code.COUNT_DRIFT,
                f"the kept counts are wrong: {reason}",
                "see what is missing: embedq-tui migrate verify; then: embedq-tui verify --repair",
                1,
                0,
                "counts",
            )
        share, most = self.facts.dead_share, self.settings.health_dead_rows
        if self.facts.dead_rows >= LEAST_DEAD_ROWS and share > most:
            yield Issue(
                Code.DEAD_ROWS,
                f"{self.facts.dead_rows:,} rows of embedding_tasks are dead, {percentage(share)} of it",
                "VACUUM embedding_tasks; the oldest xact_start in pg_stat_activity may be what keeps them",
                rounded(share),
                most,
                "ratio",
            )

    # -- figures

    def _age_s(self, since: datetime | None) -> float:
        return max((self.seen.at - since).total_seconds(), 0.0) if since else 0.0

    def _has_work(self) -> bool:
        return self.seen.queue.oldest_due_at is not None or self.seen.queue.counts.processing > 0

    def _waits_s(self) -> float:
        """How long the task has been due that has been so for the longest time."""
        return self._age_s(self.seen.queue.oldest_due_at)

    def _idle_s(self) -> float:
        """Seconds for which tasks have been in hand and none has ended; 0 where that is no wonder."""
        seen = self.seen
        held = any(provider.state == "open" for provider in seen.providers)
        halted = seen.control.stopped_at or seen.control.paused_at
        if not seen.running or halted or held or self._age_s(self.facts.oldest_claim_at) < SETTLED_S:
            return 0.0
        began = [worker.started_at for worker in seen.workers if worker.liveness is Liveness.ALIVE]
        if not began and seen.fleet and seen.fleet.started_at:
            began = [seen.fleet.started_at]
        work_since: Sequence[datetime] = [
            when for when in (seen.queue.oldest_due_at, self.facts.claimed_due_at) if when
        ]
        marks = [min(began, default=None), min(work_since, default=None)]
        marks += [seen.queue.last_completed_at, self.facts.last_failed_at]
        return self._age_s(max(mark for mark in marks if mark))
