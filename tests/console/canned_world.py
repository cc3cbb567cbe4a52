"""Everything a console asks for, answered by hand: a busy queue with some troubles, and an empty one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from embedq_tui.live.questions import Question
from embedq_tui.screens.articles.questions import Article, ArticleList, Covered, LastBackfill
from embedq_tui.screens.audit.questions import FollowLog
from embedq_tui.screens.failures.questions import Groups, NewestOf, TrendsOf
from embedq_tui.screens.metrics.questions import DAY, HOUR, WEEK, Measure, Measured
from embedq_tui.screens.overview.questions import LastHour, LastRows, TopFailures
from embedq_tui.screens.settings.questions import Schema
from embedq_tui.screens.stuck.questions import WhatIsStuck
from embedq_tui.screens.tasks.questions import Detail, Matching, TaskList
from embedq_tui.screens.workers.questions import Deaths
from embedq_worker.actions.bulk import Operation
from embedq_worker.insights.access import Access
from embedq_worker.insights.articles import ArticlePage, State, StateCounts
from embedq_worker.insights.audit import AuditPage, AuditRow
from embedq_worker.insights.deaths import DeadWorker
from embedq_worker.insights.detail import ArticleDetail
from embedq_worker.insights.events import Event
from embedq_worker.insights.failures import Failures
from embedq_worker.insights.health import Health
from embedq_worker.insights.health import Measure as Vital
from embedq_worker.insights.issues import Code, Issue
from embedq_worker.insights.metrics import Metrics, Period, Span, Spread
from embedq_worker.insights.overview import (
    Control,
    Liveness,
    Overview,
    ProviderRow,
    QueueFigures,
    StatusCounts,
    WorkerRow,
)
from embedq_worker.insights.stuck import StuckTasks
from embedq_worker.insights.tasks import TaskPage
from embedq_worker.schema.files import load_migrations
from embedq_worker.schema.state import MigrationState
from tests.console import canned_tasks as canned
from tests.console.canned_tasks import ALPHA, BETA, GAMMA, NOW, ago, ident

COUNTS = StatusCounts(pending=1_284, processing=9, completed=48_213, failed=37)
BEFORE = StatusCounts(pending=1_402, processing=9, completed=48_089, failed=35)
"""A minute earlier."""

_STEPS = {Span.MINUTE: timedelta(minutes=1), Span.HOUR: timedelta(hours=1), Span.DAY: timedelta(days=1)}


Answers = Mapping[type[Question[Any]], Callable[[Any], object]]


@dataclass(frozen=True, slots=True)
class World:
    """What a console finds.

    Attributes:
        looks: At the queue; the last one is of `NOW`.
        ended: Tasks that ended in each of the last seconds.
        answers: To what screens ask, by the kind of question.
    """

    looks: Sequence[Overview]
    health: Health
    access: Access
    ended: Sequence[int]
    answers: Answers


def busy() -> World:
    """A queue at work, with a worker that fell silent and some failures."""
    seen = overview(COUNTS, workers())
    before = seen._replace(at=ago(minutes=1), queue=seen.queue._replace(counts=BEFORE))
    stuck = Issue(
        Code.STUCK,
        "5 tasks are stuck: no worker will finish them",
        "a running worker takes them back in a moment; or: embedq-tui reset-stuck",
        5,
        0,
        "tasks",
    )
    return World(
        looks=(before, seen),
        health=Health(NOW, False, (stuck,), (Vital("stuck", 5, 0, "tasks"),)),
        access=access(),
        ended=[1 + n // 10 % 5 + n % 2 for n in range(120)],
        answers=_BUSY,
    )


def empty() -> World:
    """A database that was migrated this moment; nobody has done anything with it."""
    return World(
        looks=(overview(StatusCounts(), ()),),
        health=Health(NOW, True, (), (Vital("stuck", 0, 0, "tasks"),)),
        access=access(),
        ended=(),
        answers=_EMPTY,
    )


# -- what every screen shows something of


def overview(counts: StatusCounts, working: tuple[WorkerRow, ...]) -> Overview:
    """A look at a queue with so many tasks."""
    nothing = counts == StatusCounts()
    return Overview(
        at=NOW,
        migrated=True,
        running=bool(working),
        queue=QueueFigures(
            counts=counts,
            total=counts.pending + counts.processing + counts.completed + counts.failed,
            by_priority={"high": StatusCounts(), "normal": counts, "low": StatusCounts()},
            oldest_pending_at=None if nothing else ago(minutes=52),
            oldest_due_at=None if nothing else ago(seconds=34),
            next_due_at=None if nothing else ago(seconds=-41),
            last_completed_at=None if nothing else ago(seconds=1),
        ),
        workers=working,
        fleet=None,
        control=Control(None, None, None, None),
        providers=() if nothing else (provider(),),
    )


def provider() -> ProviderRow:
    """A provider that works."""
    return ProviderRow("ollama@ollama:11434", "closed", "", "", "", 0, None, None)


def workers() -> tuple[WorkerRow, ...]:
    """Two that are at work, and one that is not heard of."""

    def row(ident: UUID, host: str, pid: int, **more: object) -> WorkerRow:
        plain = WorkerRow(
            id=ident,
            host=host,
            pid=pid,
            version="1.4.0",
            state="running",
            liveness=Liveness.ALIVE,
            note="",
            in_hand=4,
            processed=24_120,
            succeeded=24_101,
            failed=19,
            provider="ollama@ollama:11434",
            settings={"concurrency": 4, "batch_size": 8, "provider": "ollama", "model": canned.MODEL},
            started_at=ago(days=2, hours=5),
            heartbeat_at=ago(seconds=3),
            paused_at=None,
            paused_by=None,
        )
        return plain._replace(**more)  # type: ignore[arg-type]

    return (
        row(ALPHA, "alpha", 4711),
        row(BETA, "beta", 88, in_hand=2, processed=9_804, succeeded=9_791, failed=13),
        row(
            GAMMA, "gamma", 913, liveness=Liveness.SILENT, in_hand=3, processed=204, succeeded=199, failed=5,
            heartbeat_at=ago(seconds=377),
        ),
    )  # fmt: skip


def dead() -> DeadWorker:
    """One that died before, and whose tasks others took over."""
    return DeadWorker(
        id=ident(4),
        host="delta",
        pid=1_202,
        version="1.4.0",
        provider="ollama@ollama:11434",
        note="no heartbeat",
        in_hand=6,
        unreturned=0,
        succeeded=3_310,
        failed=2,
        started_at=ago(days=1, hours=2),
        heartbeat_at=ago(hours=3, minutes=1),
        died_at=ago(hours=3),
    )


def access() -> Access:
    """A database that may be written to."""
    return Access("16.4", "embedq", False, False, (), "")


# -- what screens ask


def _article(_: Article) -> ArticleDetail:
    found = canned.detail()
    assert found.article is not None
    return ArticleDetail(NOW, found.article, (found.task, *found.related), canned.chunks())


def _log(question: FollowLog) -> int:
    question.roll.begun = True
    return question.roll._add(audit())  # what a look at the database ends with


def _no_log(question: FollowLog) -> int:
    question.roll.begun = True
    return 0


def _measured(question: Measure, *, idle: bool = False) -> Measured:
    plotted = metrics(question.plotted, {HOUR: 60, DAY: 24, WEEK: 168}[question], idle=idle)
    return Measured(plotted, metrics(question.tabled, 7) if question is WEEK else plotted)


_BUSY: Answers = {
    Groups: lambda _: canned.failures(),
    TopFailures: lambda _: canned.failures(),
    Deaths: lambda _: (dead(),),
    NewestOf: lambda question: canned.newest_of(question.group),
    TrendsOf: lambda question: canned.trends(question.over / 12),
    WhatIsStuck: lambda _: canned.stuck(),
    TaskList: lambda _: canned.tasks(),
    Matching: lambda _: COUNTS.failed,
    Detail: lambda _: canned.detail(),
    Article: _article,
    ArticleList: lambda _: canned.articles(),
    Covered: lambda _: canned.coverage(),
    LastBackfill: lambda _: backfill(),
    LastRows: lambda _: AuditPage(NOW, tuple(reversed(audit())), None),
    FollowLog: _log,
    LastHour: lambda _: metrics(Span.MINUTE, 60),
    Measure: _measured,
    Schema: lambda _: migrations(),
}

_EMPTY: Answers = {
    Groups: lambda _: Failures(NOW, 0, (), None),
    TopFailures: lambda _: Failures(NOW, 0, (), None),
    Deaths: lambda _: (),
    WhatIsStuck: lambda _: StuckTasks(NOW, 0, (), (), 1_800, 300),
    TaskList: lambda _: TaskPage(NOW, (), None),
    ArticleList: lambda _: ArticlePage(NOW, (), 0, None),
    Covered: lambda _: StateCounts(0, dict.fromkeys(State, 0), True),
    LastBackfill: lambda _: None,
    LastRows: lambda _: AuditPage(NOW, (), None),
    FollowLog: _no_log,
    LastHour: lambda _: metrics(Span.MINUTE, 60, idle=True),
    Measure: lambda question: _measured(question, idle=True),
}


def metrics(by: Span, periods: int, *, idle: bool = False) -> Metrics:
    """The pace of the queue: a hill, and a valley while the provider asked for patience."""
    step = _STEPS[by]
    first = NOW.replace(second=0) - (periods - 1) * step
    found = tuple(_period(first + n * step, step, n, idle=idle) for n in range(periods))
    whole = _period(first, periods * step, 20, idle=idle)
    completed, failed = sum(one.completed for one in found), sum(one.failed for one in found)
    minutes = periods * step.total_seconds() / 60
    total = whole._replace(completed=completed, failed=failed, per_minute=(completed + failed) / minutes)
    return Metrics(NOW, by, found, total)


def _period(since: datetime, step: timedelta, place: int, *, idle: bool) -> Period:
    if idle:
        return Period(since, since + step, 0, 0, True, 0.0, None, None, None, None, None, None, None, None)
    held = 30 <= place % 60 < 36
    pace = 12 if held else 90 + (place % 60) * (60 - place % 60) // 9 + place * 37 % 11
    minutes = round(step.total_seconds() / 60)
    failed = pace * minutes // (4 if held else 120)
    slow = 900 if held else 240 + place * 53 % 40
    return Period(
        since=since,
        until=since + step,
        completed=pace * minutes - failed,
        failed=failed,
        exact=True,
        per_minute=float(pace),
        error_rate=failed / (pace * minutes),
        processing_ms=Spread(slow, slow * 2.1, slow * 3.4),
        wait_ms=Spread(slow * 9, slow * 21, slow * 30),
        embedding_ms=slow * 0.8,
        claim_ms=4.2,
        utilization=0.2 if held else 0.55 + place % 7 / 20,
        depth_mean=1_300.0 + 9 * place,
        depth_max=1_340 + 9 * place,
    )


def backfill() -> Operation:
    """The last backfill: its tasks are being worked off."""
    return Operation(
        id=ident(77),
        operator="ops",
        host="console",
        filter={"model": canned.MODEL, "categories": ["missing", "stale"], "priority": "low"},
        state="done",
        planned=2_210,
        queued=2_210,
        last_id=48_900,
        started_at=ago(minutes=38),
        updated_at=ago(minutes=37),
        finished_at=ago(minutes=37),
        silent_s=2_220.0,
        tasks={"pending": 1_284, "processing": 6, "completed": 916, "failed": 4},
    )


def migrations() -> list[MigrationState]:
    """All are applied; those that came since stand for none in the pictures."""
    return [
        MigrationState(one.version, one.name, "applied", ago(days=40), "owner", "1.4.0", 0.1 * one.version)
        for one in load_migrations()
        if one.version <= 12
    ]


# -- the audit log


def audit() -> list[AuditRow]:
    """The log, the oldest row first."""
    rows = []
    for n in range(60):
        slug = canned.ARTICLES[n % len(canned.ARTICLES)][0]
        worker = str((ALPHA, BETA)[n % 2])
        event = _event(3 * (60 - n), "info", "Task completed", worker=worker, duration_ms=213.0 + 7 * n)
        if n % 11 == 4:
            event = event._replace(level="error", message="Task failed", attempt=3, error=canned.TOO_LONG)
        elif n % 11 == 8:
            event = event._replace(
                level="warn", message="Task given back", attempt=1, error=canned.LIMIT_REACHED
            )
        rows.append(AuditRow(ident(5_000 + n), ident(1_000 + n), 101 + n % 10, slug, None, event))
    told = (
        (_event(100, "info", "Priority high", operator="ops@console", action="priority high", count=12), 8),
        (_event(64, "warn", "Provider asks for patience", provider="ollama", retry_after_s=61), None),
        (_event(5, "info", "Worker started", host="beta", pid=88), None),
    )  # fmt: skip
    for n, (event, operation) in enumerate(told):
        by = str(ident(operation)) if operation else None
        event = event._replace(category="queue_operations" if by else "worker_status")
        rows.append(AuditRow(ident(6_000 + n), None, None, None, by, event))
    return sorted(rows, key=lambda row: row.event.at)


def _event(
    seconds: float,
    level: str,
    message: str,
    *,
    worker: str | None = None,
    operator: str = "",
    duration_ms: float | None = None,
    **more: object,
) -> Event:
    return Event(
        at=ago(seconds=seconds),
        level=level,
        category="task_lifecycle",
        message=message,
        worker=worker,
        operator=operator,
        attempt=None,
        duration_ms=duration_ms,
        error="",
        stack_trace="",
        metadata=more,
    )
