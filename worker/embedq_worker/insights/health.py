"""Health of the queue: what is wrong, by how much, and what to do about it.

Cheap enough to run every few seconds: index lookups, the tasks in progress, and a bounded number of recently
ended tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.database.failures import UNDEFINED
from embedq_worker.errors import SchemaError
from embedq_worker.insights.access import SHARED
from embedq_worker.insights.issues import Code, Issue, backlog, orders, serving, tasks
from embedq_worker.insights.overview import Overview, overview
from embedq_worker.insights.shares import percentage, rounded
from embedq_worker.insights.vitals import UNQUEUED_JUDGED, Ended, Vitals, vitals
from embedq_worker.queue.words import PROVIDER_STATES
from embedq_worker.schema.check import foremost, missing_objects
from embedq_worker.schema.files import known_migrations
from embedq_worker.schema.public import unsuitable_kinds
from embedq_worker.schema.state import require_current
from embedq_worker.text import age

LEAST_FAILURES = 5
"""Minimum number of failures; one failure among two tasks is no failure rate."""

LEAST_DEAD_ROWS = 100_000
"""Minimum number of dead tuples: fewer cost a read of the queue 10 ms. Autovacuum, which looks once a minute,
need not have seen yet what tens of thousands of tasks left behind."""

COMMIT_WAITS_S = 10.0
"""A synchronous replica that works confirms a commit within milliseconds."""

CLOCK_TOLERANCE_S = 60.0
"""How far the clock of a program that queues may be ahead of the server's."""

SETTLED_S = 60.0
"""A claim younger than this is not a sign of a stall: the workers may just have been resumed."""


class Measure(NamedTuple):
    """A measured value, whether it is an issue or not.

    Attributes:
        threshold: Value above which it is an issue; None if there is no limit, or too little to judge by.
    """

    name: str
    value: float
    threshold: float | None
    unit: str


class Health(NamedTuple):
    """The result.

    Attributes:
        at: The database's time.
        healthy: There are no issues.
        issues: The most severe first.
        measures: The measured values; empty if the schema lacks our tables.
    """

    at: datetime
    healthy: bool
    issues: tuple[Issue, ...]
    measures: tuple[Measure, ...]


async def health(connection: Connection, settings: Settings) -> Health:
    """Check everything that an operator should know about.

    Args:
        connection: To the database, migrated or not.
        settings: Thresholds, and when a worker is presumed dead.
    """
    return (await health_and_overview(connection, settings))[0]


async def health_and_overview(connection: Connection, settings: Settings) -> tuple[Health, Overview | None]:
    """`health`, and the overview that it judges; None if what that reads is missing."""
    issues = await _schema(connection)
    seen = facts = None
    try:
        seen = await overview(connection, settings)
        facts = await vitals(connection, settings) if seen.migrated else None
    except (SchemaError, *UNDEFINED):
        if not issues:
            raise
    if seen is None:
        at = await connection.fetchval("SELECT clock_timestamp()")
        return Health(at, False, tuple(issues), ()), None
    if facts is None:
        missing = Issue(
            Code.SCHEMA, "functions of embedq are missing", "run: embedq-tui migrate verify", 1, 0, "counts"
        )
        return Health(seen.at, False, tuple(issues or [missing]), ()), seen
    found = _Findings(seen, facts, settings)
    issues += found.issues()
    return Health(seen.at, not issues, tuple(issues), found.measures()), seen


async def _schema(connection: Connection) -> list[Issue]:
    try:
        await require_current(connection)
    except SchemaError as error:
        return [Issue(Code.SCHEMA, error.message, error.advice, 1, 0, "counts")]
    known = [migration.version for migration in known_migrations()]
    kinds = await unsuitable_kinds(connection)
    faults = [*kinds.values(), *await missing_objects(connection, known)]
    told = {"unsuitable", "missing"}
    if any(each.code == "invalid" for each in faults) and not await connection.fetchval(_BUILDING):
        told.add("invalid")
    wrong = [each for each in faults if each.code in told]
    if not wrong:
        return []
    problem = foremost(wrong)
    return [Issue(Code.SCHEMA, problem.message, problem.advice, len(wrong), 0, "counts")]


# An index is invalid while it is built, and stays so if that fails.
_BUILDING = """
SELECT EXISTS (SELECT FROM pg_stat_progress_create_index p JOIN pg_database d ON d.oid = p.datid
               WHERE d.datname = current_database())
"""


@dataclass(frozen=True, slots=True)
class _Findings:
    """What was read, and the issues it shows."""

    seen: Overview
    facts: Vitals
    settings: Settings

    def issues(self) -> Iterator[Issue]:
        """Issues, the most severe first."""
        yield from self._read_only()
        yield from self._commits()
        yield from orders(self.seen.control, self.seen.at)
        yield from serving(self.seen)
        yield from self._providers()
        yield from self._queue()
        yield from self._stall()
        yield from self._failures(Code.FAILURE_RATE_HOUR, 3_600, self.facts.hour, self._limit_hour)
        yield from self._failures(Code.FAILURE_RATE_DAY, 86_400, self.facts.day, self._limit_day)
        yield from self._unqueued()
        yield from self._table()

    def measures(self) -> tuple[Measure, ...]:
        """The measured values."""
        settings, facts = self.settings, self.facts
        return (
            Measure("pending", self.seen.queue.counts.pending, settings.health_backlog, "tasks"),
            Measure("processing", self.seen.queue.counts.processing, None, "tasks"),
            Measure("oldest_pending", round(self._waits_s(), 1), settings.health_wait_s, "s"),
            Measure("idle", round(self._idle_s(), 1), settings.health_stall_s, "s"),
            Measure("stuck", facts.stuck, settings.health_stuck, "tasks"),
            Measure("failure_rate_hour", rounded(facts.hour.failure_rate), self._limit_hour, "ratio"),
            Measure("failure_rate_day", rounded(facts.day.failure_rate), self._limit_day, "ratio"),
            Measure("dead_rows", rounded(facts.dead_share), self._limit_dead_rows, "ratio"),
            Measure("workers", len(self.seen.alive), None, "counts"),
        )

    # -- the server

    def _read_only(self) -> Iterator[Issue]:
        by = self.facts.read_only_by
        if by in SHARED:  # and not only for whoever asks
            yield Issue(
                Code.READ_ONLY,
                f"{SHARED[by]} are read-only (default_transaction_read_only): workers can store nothing",
                "make room if its disk is full, for which managed servers do this; or set it to off",
                1,
                0,
                "counts",
            )

    def _commits(self) -> Iterator[Issue]:
        waits_s = self.facts.commit_waits_s
        if waits_s > COMMIT_WAITS_S:
            yield Issue(
                Code.COMMITS_WAIT,
                f"commits wait for a synchronous replica, one for {age(waits_s)}: workers can store nothing",
                "start the replica, or take it out of synchronous_standby_names (and reload)",
                round(waits_s, 1),
                COMMIT_WAITS_S,
                "s",
            )

    # -- providers

    def _providers(self) -> Iterator[Issue]:
        for provider in self.seen.held:
            if provider.state == "open":
                seconds = self._age_s(provider.opened_at)
                yield Issue(
                    Code.PROVIDER_OPEN,
                    f"{provider.key}: {PROVIDER_STATES['open']} for {age(seconds)}: {provider.reason}",
                    provider.advice or "workers probe it and resume by themselves; test it: embedq-tui check",
                    round(seconds, 1),
                    0,
                    "s",
                )
            pause_s = (provider.retry_at - self.seen.at).total_seconds() if provider.retry_at else 0.0
            longest = self.settings.health_wait_s
            if provider.state == "cooling" and pause_s > longest:
                yield Issue(
                    Code.PROVIDER_COOLING,
                    f"{provider.key}: {PROVIDER_STATES['cooling']} for the next {age(pause_s)}, as it asked: "
                    f"{provider.reason}",
                    "if that cannot be meant, try it at once: embedq-tui probe",
                    round(pause_s, 1),
                    longest,
                    "s",
                )

    # -- pending and held tasks

    def _queue(self) -> Iterator[Issue]:
        pending = self.seen.queue.counts.pending
        if pending > self.settings.health_backlog:
            yield backlog(pending, self.settings.health_backlog, halted=self._halted())
        waits_s, longest = self._waits_s(), self.settings.health_wait_s
        if waits_s > longest:
            yield Issue(
                Code.OLDEST_PENDING,
                f"a due task has been waiting for {age(waits_s)}, {age(longest)} allowed",
                "check that workers process its priority and folder: embedq-tui status",
                round(waits_s, 1),
                longest,
                "s",
            )
        ahead_s = self.facts.ahead_s
        if ahead_s > CLOCK_TOLERANCE_S:
            yield Issue(
                Code.CLOCK,
                f"tasks wait that were created up to {age(ahead_s)} from now, by the server's clock",
                "it was set back, or their program's is ahead: correct it; then: embedq-tui retry --waiting",
                round(ahead_s, 1),
                CLOCK_TOLERANCE_S,
                "s",
            )
        if self.facts.stuck > self.settings.health_stuck:
            yield Issue(
                Code.STUCK,
                f"{tasks(self.facts.stuck)} stuck: the claim is too old, or its worker is dead",
                "a running worker takes them back within seconds; or: embedq-tui reset-stuck",
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
                f"no task has ended for {age(idle_s)}, with {tasks(held)} in progress",
                "the provider hangs or is too slow: embedq-tui check; then see the logs of the workers",
                round(idle_s, 1),
                longest,
                "s",
            )

    # -- ended tasks

    def _failures(self, code: Code, window_s: int, last: Ended, most: float | None) -> Iterator[Issue]:
        if most is not None and last.failure_rate > most:
            ended = last.completed + last.failed
            yield Issue(
                code,
                f"{percentage(last.failure_rate, 1)} of {ended:,} tasks that ended in the last "
                f"{age(min(last.seconds, window_s))} failed, {percentage(most, 1)} allowed",
                "find out why: embedq-tui failed --details",
                rounded(last.failure_rate),
                most,
                "ratio",
            )

    # -- saved articles

    def _unqueued(self) -> Iterator[Issue]:
        number = self.facts.unqueued
        if number:
            yield Issue(
                Code.UNQUEUED,
                f"the trigger on articles could not queue {number:,}"
                f"{' or more' if number == UNQUEUED_JUDGED else ''} of those that were saved",
                "queue them: embedq-tui backfill; for the reason: embedq-tui audit --level error",
                number,
                0,
                "articles",
            )

    # -- the table and its counts

    def _table(self) -> Iterator[Issue]:
        if not self.facts.counted or self.facts.drifted:
            reason = (
                "they differ from the tasks" if self.facts.counted else "a trigger is missing or disabled"
            )
            yield Issue(
                Code.COUNT_DRIFT,
                f"the maintained task counts are wrong: {reason}",
                "check the triggers: embedq-tui migrate verify; then repair: embedq-tui verify --repair",
                1,
                0,
                "counts",
            )
        share, most = self.facts.dead_share, self._limit_dead_rows
        if most is not None and share > most:
            yield Issue(
                Code.DEAD_ROWS,
                f"{self.facts.dead_rows:,} dead tuples in embedding_tasks, {percentage(share)} of the table",
                "VACUUM embedding_tasks; first end old transactions (xact_start in pg_stat_activity)",
                rounded(share),
                most,
                "ratio",
            )

    # -- limits of shares; None where there is too little to judge by

    @property
    def _limit_hour(self) -> float | None:
        enough = self.facts.hour.failed >= LEAST_FAILURES
        return self.settings.health_failure_rate if enough else None

    @property
    def _limit_day(self) -> float | None:
        """Of a day of which only the last hour is known, that hour is judged already."""
        enough = self.facts.day.failed >= LEAST_FAILURES and self.facts.day.seconds > 3_600
        return self.settings.health_failure_rate if enough else None

    @property
    def _limit_dead_rows(self) -> float | None:
        enough = self.facts.dead_rows >= LEAST_DEAD_ROWS
        return self.settings.health_dead_rows if enough else None

    # -- figures

    def _age_s(self, since: datetime | None) -> float:
        return max((self.seen.at - since).total_seconds(), 0.0) if since else 0.0

    def _halted(self) -> bool:
        """Whether tasks wait for a known reason, which another worker would not change."""
        held = any(provider.state == "open" for provider in self.seen.held)
        return not self.seen.running or self.seen.control.paused_at is not None or held

    def _waits_s(self) -> float:
        """Seconds for which the longest-waiting task has been due."""
        return self._age_s(self.seen.queue.oldest_due_at)

    def _idle_s(self) -> float:
        """Seconds without any task ending although some are in progress; 0 if there is a known reason."""
        seen = self.seen
        if self._halted() or self._age_s(self.facts.oldest_claim_at) < SETTLED_S:
            return 0.0
        began = [worker.started_at for worker in seen.alive]
        if not began and seen.fleet and seen.fleet.started_at:
            began = [seen.fleet.started_at]
        work_since: Sequence[datetime] = [
            when for when in (seen.queue.oldest_due_at, self.facts.claimed_due_at) if when
        ]
        marks = [min(began, default=None), min(work_since, default=None)]
        marks += [seen.queue.last_completed_at, self.facts.last_failed_at]
        # Workers may have started before the server's clock was set back.
        return self._age_s(max((mark for mark in marks if mark and mark <= seen.at), default=None))
