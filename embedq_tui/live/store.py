"""What the console knows about one database: written by the feed, read by the screens."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from embedq_tui.live.feed import Lost
from embedq_tui.live.questions import CONTROL, PROVIDER, TASKS, WORKERS, Answer, Question
from embedq_tui.rates import RateMeter, Rates, ended_between
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.database.listener import Heard, Hearing
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.access import Access, access
from embedq_worker.insights.health import Health, health
from embedq_worker.insights.overview import Overview, QueueFigures, overview

HISTORY = 120
"""Seconds of history kept for the sparkline."""

KEPT = 64
"""Answers to keep: a page may hold a hundred tasks, and an operator may turn thousands."""

SKEW_S = 5.0
"""Clock differences below this many seconds are not worth mentioning."""

CALM = 0.9
"""Share of the pending tasks that health allows, down to which a backlog lasts: where a count wavers around
the limit, the alarm must not come and go."""

ACCESS = "access"
"""Topic for the feed to check the rights again, when the overview contradicts them."""

HEALTH = "health"
"""The same for the health: a worker that falls silent sends no notification."""


@dataclass(frozen=True)
class Look(Question[Overview]):
    """Counts, workers and providers, some of which every screen shows."""

    hears = frozenset({TASKS, WORKERS, CONTROL, PROVIDER})
    pause_s = 0.1
    every_s = 5.0
    within_s = 10.0

    async def ask(self, connection: Connection, settings: Settings) -> Overview:
        """Ask it once."""
        return await overview(connection, settings)


@dataclass(frozen=True)
class Judge(Question[Health]):
    """Whether the queue is healthy."""

    hears = frozenset({WORKERS, CONTROL, PROVIDER, HEALTH})
    pause_s = 5.0
    every_s = 15.0

    async def ask(self, connection: Connection, settings: Settings) -> Health:
        """Ask it once."""
        return await health(connection, settings)


@dataclass(frozen=True)
class Rights(Question[Access]):
    """Which database this is, and whether it is writable."""

    hears = frozenset({ACCESS})
    pause_s = 5.0
    every_s = 15.0

    async def ask(self, connection: Connection, settings: Settings) -> Access:
        """Ask it once."""
        return await access(connection)


ALWAYS: tuple[Question[Any], ...] = (Look(), Judge(), Rights())
"""Questions that are always subscribed, whatever screen is shown."""


@dataclass(slots=True)
class Store:
    """The state of one database, as far as it is known.

    Attributes:
        overview: The latest; None before the first.
        overview_at: When it was asked for, by `time.monotonic`.
        error: Why the latest overview failed although the database responds.
        rates: None until known.
        health: The latest verdict.
        backlogged: More tasks are pending than health allows, or were until a moment ago.
        access: None until known.
        lost: Set while the database does not respond.
        hearing: Whether notifications arrive.
        ended: How many tasks ended in each of the last seconds, oldest first.
        answers: The newest answer to each current or recent question.
    """

    on_state: Callable[[], None]
    on_answer: Callable[[Answer[Any]], None]
    overview: Overview | None = None
    overview_at: float = 0.0
    error: EmbedqError | None = None
    rates: Rates | None = None
    health: Health | None = None
    access: Access | None = None
    backlogged: bool = False
    lost: Lost | None = None
    hearing: Hearing | None = None
    ended: deque[int] = field(default_factory=lambda: deque(maxlen=HISTORY))
    answers: dict[Question[Any], Answer[Any]] = field(default_factory=dict)
    _meter: RateMeter = field(default_factory=RateMeter)
    _before: QueueFigures | None = None
    _skew_s: float = 0.0

    def now(self) -> datetime | None:
        """The database's time, extrapolated from the latest overview."""
        if self.overview is None:
            return None
        return self.overview.at + timedelta(seconds=time.monotonic() - self.overview_at)

    @property
    def doubts_access(self) -> bool:
        """Whether the known rights are out of date, for example after a failover."""
        if self.overview is None or self.access is None:
            return False
        return self.overview.read_only != (self.access.is_replica or self.access.read_only)

    @property
    def doubts_health(self) -> bool:
        """Whether the verdict counts other workers as alive than the overview."""
        if self.overview is None or self.health is None:
            return False
        judged = next((m.value for m in self.health.measures if m.name == "workers"), None)
        return judged is not None and judged != len(self.overview.alive)

    def age_s(self, questions: Iterable[Question[Any]] = ()) -> float | None:
        """Seconds since the latest overview, or the oldest answer to one of these; None without one."""
        if self.overview is None:
            return None
        times = (self.answers[question].at for question in questions if question in self.answers)
        return time.monotonic() - min((self.overview_at, *times))

    def overdue_s(self, questions: Iterable[Question[Any]]) -> float | None:
        """Age in seconds of what should have been replaced by now; None if all of it is current.

        Args:
            questions: What is shown besides the overview.
        """
        asked = {question: self.answers[question].at for question in questions if question in self.answers}
        if self.overview is not None:
            asked[Look()] = self.overview_at
        now = time.monotonic()
        return max((now - at for question, at in asked.items() if now - at > question.old_s), default=None)

    @property
    def allowed_backlog(self) -> int | None:
        """How many tasks may be pending; None if unknown."""
        measures = self.health.measures if self.health is not None else ()
        most = next((m.threshold for m in measures if m.name == "pending"), None)
        return None if most is None else round(most)

    def skew_s(self) -> float | None:
        """Seconds by which our clock is ahead of the database's; None if negligible."""
        return self._skew_s if abs(self._skew_s) >= SKEW_S else None

    def answered(self, answer: Answer[Any]) -> None:
        """Store an answer from the feed."""
        match answer.question, answer.value:
            case Look(), Overview() as found:
                self._look(found, answer.at)
            case Look(), _:
                self.error = answer.error
            case Judge(), found:
                self.health = found or self.health
                self._weigh()
            case Rights(), found:
                self.access = found or self.access
            case _:
                self.answers.pop(answer.question, None)
                self.answers[answer.question] = answer
                if len(self.answers) > KEPT:
                    self.forget(next(iter(self.answers)))
                self.on_answer(answer)
                return
        self.on_state()

    def was_lost(self, lost: Lost | None) -> None:
        """The database stopped responding, or responds again."""
        self.lost = lost
        self.on_state()

    def heard(self, heard: Heard) -> None:
        """Notifications stopped arriving, or arrive again."""
        self.hearing = heard.hearing
        self.on_state()

    def forget(self, question: Question[Any]) -> None:
        """Drop an answer that is no longer needed."""
        self.answers.pop(question, None)

    def sample(self) -> None:
        """Record how many tasks ended in this second."""
        if self.overview is None or self.lost is not None or self.overdue_s(()) is not None:
            self._before = None  # what ends meanwhile must not count for the second it is noticed in
            return
        queue = self.overview.queue
        before, self._before = self._before or queue, queue
        self.ended.append(sum(ended_between(before, queue)))

    def _look(self, found: Overview, at: float) -> None:
        self.overview, self.overview_at, self.error = found, at, None
        self.rates = self._meter.add(found) or self.rates
        self._weigh()
        ahead_s, took_s = (datetime.now(UTC) - found.at).total_seconds(), time.monotonic() - at
        # The database's time was read while the answer was on its way, which says nothing about clocks.
        self._skew_s = max(ahead_s - took_s, min(ahead_s, 0.0))

    def _weigh(self) -> None:
        if self.overview is not None and (most := self.allowed_backlog) is not None:
            self.backlogged = self.overview.queue.counts.pending > most * (CALM if self.backlogged else 1)
