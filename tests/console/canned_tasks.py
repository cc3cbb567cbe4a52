"""Tasks and articles made by hand, at a moment that never passes, for pictures of the console."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from embedq_tui.screens.failures.questions import InGroup
from embedq_worker.insights.advice import advice_for
from embedq_worker.insights.articles import ArticlePage, ArticleRow, State, StateCounts
from embedq_worker.insights.detail import ChunkRow, TaskDetail
from embedq_worker.insights.events import Event
from embedq_worker.insights.failures import FailedTask, FailureGroup, Failures, FolderCount, Trends
from embedq_worker.insights.overview import Liveness
from embedq_worker.insights.stuck import StuckReason, StuckTask, StuckTasks, StuckWorker
from embedq_worker.insights.tasks import TaskPage, TaskRow
from embedq_worker.queue.selection import Cursor
from embedq_worker.schema.needs import Category

NOW = datetime(2026, 5, 20, 9, 41, 7, tzinfo=UTC)

MODEL = "nomic-embed-text"
LIMIT_REACHED = "ollama: HTTP 429: too many requests, limit of 600 per minute reached"
TOO_LONG = "the input is longer than the 2048 tokens that the model takes (9,318 characters)"
REFUSED = "ollama at http://ollama:11434 did not answer: connection refused"
CANCELLED = "cancelled by ops@console"

ARTICLES = (
    ("guides/getting-started", "Getting started", "guides"),
    ("guides/install-on-debian", "Install on Debian and Ubuntu", "guides"),
    ("reference/settings", "Every setting, with its source", "reference"),
    ("reference/command-line", "The command line", "reference"),
    ("blog/2026-05-why-we-moved-the-queue-into-the-database", "Why we moved the queue", "blog"),
    ("ja/導入ガイド", "導入ガイド", "ja"),
    ("api/search[/bold]", "Search [the API]", "api"),
    ("api/errors", "Errors and their codes", "api"),
    ("faq/cafe\u0301", "Where is the cafe\u0301?", "faq"),
    ("release-notes/4.2", "Release notes 4.2", "release-notes"),
)


def ident(number: int) -> UUID:
    """An id; the same for the same number."""
    return UUID(int=Random(number).getrandbits(128), version=4)


def ago(*, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> datetime:
    """A time before the moment; negative ones are to come."""
    return NOW - timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


ALPHA, BETA, GAMMA = ident(1), ident(2), ident(3)
"""Workers."""


def task(number: int, status: str, at: datetime, error: str = "", *, attempts: int = 1) -> TaskRow:
    """A task of the article that its number falls on."""
    article = number % len(ARTICLES)
    made = min(at, NOW) - timedelta(hours=2, minutes=number * 3)
    started = None if status == "pending" else at - timedelta(milliseconds=830)
    return TaskRow(
        id=ident(1_000 + number),
        article_id=article + 101,
        slug=ARTICLES[article][0],
        operation="delete" if number == 5 else "create" if number % 3 else "update",
        priority="high" if number % 7 == 2 else "low" if number % 5 == 4 else "normal",
        status=status,
        attempts=attempts,
        max_attempts=3,
        created_at=made,
        scheduled_at=at if status == "pending" else made,
        processed_at=at if status == "processing" else started,
        completed_at=at if status in ("completed", "failed") else None,
        at=at,
        error=error,
        worker=(ALPHA, BETA)[number % 2] if status == "processing" else None,
    )


def tasks() -> TaskPage:
    """A page of a list: some of every status."""
    rows = [task(0, "pending", ago(seconds=-272), REFUSED, attempts=2)]
    rows += [task(1, "pending", ago(seconds=-41), LIMIT_REACHED, attempts=1)]
    rows += [task(n, "processing", ago(seconds=n - 1), attempts=1 + n % 2) for n in range(2, 6)]
    rows += [task(n, "pending", ago(seconds=3 * n), attempts=0) for n in range(6, 12)]
    rows += [task(n, "completed", ago(seconds=5 * n)) for n in range(12, 20)]
    errors = (LIMIT_REACHED, TOO_LONG, CANCELLED, "")
    rows += [
        task(n, "failed", ago(minutes=n * n), errors[n % 3], attempts=3) if n % 4 else
        task(n, "completed", ago(minutes=n * n)) for n in range(20, 40)
    ]  # fmt: skip
    return TaskPage(NOW, tuple(rows), Cursor(rows[-1].at, rows[-1].id))


def detail() -> TaskDetail:
    """All of one task."""
    worker = str(ALPHA)

    def event(
        seconds: float, level: str, message: str, attempt: int | None, error: str = "", **more: object
    ) -> Event:
        took = 812.4 if error else None
        return Event(
            at=ago(minutes=461, seconds=-seconds),
            level=level,
            category="task_lifecycle",
            message=message,
            worker=worker if attempt else None,
            operator="",
            attempt=attempt,
            duration_ms=took,
            error=error,
            stack_trace="",
            metadata=more,
        )

    ended = task(21, "failed", ago(minutes=441), LIMIT_REACHED, attempts=3)._replace(
        created_at=ago(minutes=461),
        scheduled_at=ago(minutes=441, seconds=3),
    )
    timeline = (
        event(0, "info", "Task queued", None, source="trigger"),
        event(2.1, "debug", "Task claimed", 1),
        event(3, "warn", "Task given back", 1, LIMIT_REACHED, retry_in_s=61),
        event(64.3, "debug", "Task claimed", 2),
        event(65.2, "warn", "Task given back", 2, LIMIT_REACHED, retry_in_s=1133),
        event(1_199, "debug", "Task claimed", 3),
        event(1_200, "error", "Task failed", 3, LIMIT_REACHED),
    )
    return TaskDetail(
        at=NOW,
        task=ended,
        metadata={"source": "trigger", "reason": "content changed"},
        advice=advice_for(LIMIT_REACHED),
        stack_trace="",
        article=ArticleRow(
            102, ARTICLES[1][0], ARTICLES[1][1], "guides", State.FAILED, Category.FAILED, 18_204, 9, (MODEL,),
            ago(days=3), ago(minutes=461),
        ),
        timeline=timeline,
        related=(task(31, "completed", ago(days=3)), task(11, "completed", ago(days=12))),
    )  # fmt: skip


def chunks() -> tuple[ChunkRow, ...]:
    """What is stored of an article."""
    heads = ("Before you begin", "Packages", "From source", "First run", "As a service")
    return tuple(
        ChunkRow(n, f"102-{n}", (ARTICLES[1][1], head), 480 - 31 * n, "9f86d081", MODEL, ago(days=3))
        for n, head in enumerate(heads)
    )


# -- what goes wrong

GROUPS = (
    ("8c1f52aa", "ollama: HTTP #: too many requests, limit of # per minute reached", LIMIT_REACHED, 21),
    ("e07b3d94", "the input is longer than the # tokens that the model takes (# characters)", TOO_LONG, 11),
    ("31d9a6c0", "ollama at <url> did not answer: connection refused", REFUSED, 4),
    ("5b2e7f18", "cancelled by <name>", CANCELLED, 1),
)
ADVICE = tuple(map(advice_for, (LIMIT_REACHED, "context length exceeded", REFUSED, CANCELLED)))


def failures() -> Failures:
    """Groups of failures."""
    whole = sum(size for *_, size in GROUPS)
    return Failures(
        NOW,
        whole,
        tuple(
            FailureGroup(
                fingerprint=fingerprint,
                error=error,
                count=size,
                share=size / whole,
                first_seen=ago(days=place, hours=9),
                last_seen=ago(minutes=4 + 50 * place),
                advice=ADVICE[place],
                newest=(_sample(sample),),
            )
            for place, (fingerprint, error, sample, size) in enumerate(GROUPS)
        ),
        next=None,
    )


def _sample(error: str) -> FailedTask:
    row = task(21, "failed", ago(minutes=4), error, attempts=3)
    return FailedTask(
        row.id, row.article_id, row.slug, row.operation, row.priority, 3, 3, row.completed_at, error
    )


def newest_of(fingerprint: str) -> InGroup:
    """The newest tasks of a group, and their folders."""
    error = next(sample for name, _, sample, _ in GROUPS if name == fingerprint)
    rows = tuple(task(n, "failed", ago(minutes=4 + n), error, attempts=3) for n in range(5))
    return InGroup(rows, (FolderCount("guides", 14), FolderCount("api", 6), FolderCount("", 1)))


def trends(bar: timedelta) -> Trends:
    """When the tasks of the groups failed."""
    bars = {
        GROUPS[0][0]: (0, 0, 1, 1, 0, 2, 3, 2, 4, 5, 2, 1),
        GROUPS[1][0]: (4, 3, 2, 1, 0, 0, 0, 1, 0, 0, 0, 0),
        GROUPS[2][0]: (0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0),
        GROUPS[3][0]: (0,) * 12,
    }
    return Trends(NOW, bar, 2_000, bars)


def stuck() -> StuckTasks:
    """Tasks in hand that nobody will finish."""
    held = (
        (7, 3_741, StuckReason.TOO_OLD, None, None, None),
        (8, 1_985, StuckReason.TOO_OLD, ALPHA, "alpha/4711", Liveness.ALIVE),
        (1, 412, StuckReason.WORKER_SILENT, GAMMA, "gamma/913", Liveness.SILENT),
        (2, 409, StuckReason.WORKER_SILENT, GAMMA, "gamma/913", Liveness.SILENT),
        (4, 377, StuckReason.WORKER_SILENT, GAMMA, "gamma/913", Liveness.SILENT),
    )
    found = []
    for number, age_s, reason, worker, place, liveness in held:
        row = task(number, "processing", ago(seconds=age_s))
        found.append(
            StuckTask(
                row.id, row.article_id, row.slug, row.operation, row.priority, 1 + number % 3, 3,
                ago(seconds=age_s), age_s, reason, worker, place, liveness,
            )
        )  # fmt: skip
    workers = (
        StuckWorker(GAMMA, "gamma/913", Liveness.SILENT, 3),
        StuckWorker(ALPHA, "alpha/4711", Liveness.ALIVE, 1),
        StuckWorker(None, None, None, 1),
    )
    return StuckTasks(NOW, 5, workers, tuple(found), 1_800, 300)


# -- articles


def articles() -> ArticlePage:
    """A page of a list of articles."""
    states = (State.EMBEDDED, State.STALE, State.QUEUED, State.EMBEDDED, State.FAILED, State.MISSING)
    rows = []
    for number in range(30):
        slug, title, folder = ARTICLES[number % len(ARTICLES)]
        state = (*states, State.MODEL, State.EMBEDDED, State.EXCLUDED, State.EMPTY)[number % 10]
        stored = state in (State.EMBEDDED, State.STALE, State.MODEL)
        rows.append(
            ArticleRow(
                id=130 - number,
                slug=f"{slug}-{number // 10 + 1}" if number >= 10 else slug,
                title=title,
                folder=folder,
                state=state,
                category=Category.STALE if state is State.QUEUED else None,
                size=(0 if state is State.EMPTY else 1_731 * (number + 1)),
                chunks=3 + number if stored else 0,
                models=("all-minilm" if state is State.MODEL else MODEL,) if stored else (),
                embedded_at=ago(hours=number * number) if stored or state is State.EMPTY else None,
                updated_at=ago(hours=number),
            )
        )
    return ArticlePage(NOW, tuple(rows), len(rows), rows[-1].id)


def coverage() -> StateCounts:
    """Articles by state."""
    numbers = (1_290, 412, 37, 308, 52, 16, 214, 45_871)
    by_state = dict(zip(State, numbers, strict=True))
    return StateCounts(sum(numbers), by_state, True)
