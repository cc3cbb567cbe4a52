"""A console that is looked at: its answers are made by hand, its clock stands still, it reaches nobody."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embedq_tui.console.app import Console
from embedq_tui.desk import Desk, Options
from embedq_tui.execution.executor import Executor
from embedq_tui.execution.request import NAMED, Counted, Request
from embedq_tui.execution.undo import UndoHistory
from embedq_tui.live import store
from embedq_tui.live.questions import Answer, Question
from embedq_tui.live.session import Session
from embedq_tui.live.store import Judge, Look, Rights, Store
from embedq_tui.profiles import Profile
from embedq_tui.screens import base, frame
from embedq_tui.screens.articles import screen as articles
from embedq_tui.screens.settings import render as settings_render
from embedq_tui.screens.workers import screen as workers
from embedq_tui.supervisor.supervisor import Supervisor
from embedq_tui.supervisor.types import WorkerState
from embedq_worker.actions.tasks import RETRY, Plan
from embedq_worker.configuration.loading import NO_FILE, load_settings
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.listener import Heard, Hearing
from embedq_worker.queue.selection import Selection
from tests.console.canned_tasks import ALPHA, ARTICLES, GROUPS, NOW
from tests.console.canned_world import COUNTS, World

OPERATOR = "ops@console"
URL = "postgresql://embedq@db.example:5432/articles"
PROGRAM, LIBRARY, PYTHON = "1.4.0", "8.2.8", "3.13.1"
"""Versions that are shown, whatever is installed."""


class Clock:
    """Stands where it is put; has what the console uses of the module `time`."""

    def __init__(self) -> None:
        self.at = 10_000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.at


CLOCK = Clock()


@contextmanager
def stillness(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Terminal, time zone, clock and versions are the same on every machine."""
    CLOCK.at = 10_000.0
    for module in (store, base, frame, workers, articles):
        monkeypatch.setattr(module, "time", CLOCK)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setattr(platform, "python_version", lambda: PYTHON)
    monkeypatch.setattr(settings_render, "__version__", PROGRAM)
    monkeypatch.setattr(settings_render, "version_of", lambda _: LIBRARY)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        yield
    finally:
        monkeypatch.undo()
        time.tzset()


class CannedStore(Store):
    """Passes no time: no sample is added, and no clock is ahead of another."""

    def sample(self) -> None:
        """Nothing came."""

    def skew_s(self) -> float | None:
        """There is none."""
        return None


class CannedSession(Session):
    """Answers as a world is; through the loop, as answers come from a database."""

    def __init__(
        self,
        world: World,
        settings: Settings,
        profile: Profile,
        *,
        on_state: Callable[[], None],
        on_answer: Callable[[Answer[Any]], None],
    ) -> None:
        super().__init__(settings, profile, read_only=False, on_state=on_state, on_answer=on_answer)
        self.store = CannedStore(on_state, on_answer)
        self._world = world
        self._wanted: tuple[Question[Any], ...] = ()

    async def run(self) -> None:
        """Tell what always stands, once."""
        world, known = self._world, self.store
        known.heard(Heard(Hearing.LISTENING))
        known.ended.extend(world.ended)
        for look in world.looks:
            known.answered(Answer(Look(), look, at=CLOCK.at))
        known.answered(Answer(Judge(), world.health, at=CLOCK.at))
        known.answered(Answer(Rights(), world.access, at=CLOCK.at))
        await asyncio.Event().wait()

    def subscribe(self, questions: Iterable[Question[Any]]) -> None:
        """Answer what is not answered yet."""
        before, self._wanted = self._wanted, tuple(questions)
        for question in self._wanted:
            if question not in before:
                asyncio.get_running_loop().call_soon(self._answer, question)

    def _answer(self, question: Question[Any]) -> None:
        if question in self._wanted:
            self.store.answered(Answer(question, self._world.answers[type(question)](question), at=CLOCK.at))

    def again(self) -> None:
        """Everything is as it was."""


class CannedExecutor(Executor):
    """Finds the tasks of the biggest group of failures, or all that wait or are in hand."""

    async def _count(self, request: Request) -> Counted:
        retries = request.action is RETRY
        matched = GROUPS[0][3] if retries else COUNTS.pending + COUNTS.processing
        wanted = replace(request.wanted, statuses=tuple(request.action.statuses))
        planned = Plan(request.action, wanted, Selection(NOW, (), ()), matched)
        names = [slug for slug, *_ in ARTICLES[:NAMED]]
        return Counted(planned, 0 if retries else COUNTS.processing, names)


class CannedSupervisor(Supervisor):
    """Says that a worker runs, and that it has written a few lines."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, by=OPERATOR)
        self.state = WorkerState.RUNNING
        self.worker_id = ALPHA
        self.log.add("started with --concurrency 4", ours=True)
        for line in (
            "2026-05-20T09:40:58Z [info] claimed tasks=8 priorities=high,normal",
            "2026-05-20T09:40:59Z [info] stored task=5f0c slug=guides/getting-started chunks=12 ms=231",
            "2026-05-20T09:41:02Z [warning] asked for patience provider=ollama seconds=61",
            "2026-05-20T09:41:06Z [info] stored task=91ab slug=api/errors chunks=3 ms=88",
        ):
            self.log.add(line)

    @property
    def pid(self) -> int | None:
        """Of no process."""
        return 4711

    @property
    def started_at(self) -> float | None:
        """An hour and a half ago."""
        return CLOCK.at - 5_400

    @property
    def alive(self) -> bool:
        """It says so."""
        return True


class CannedDesk(Desk):
    """Acts on what is canned, with a worker that is."""

    def __init__(
        self, app: Console, session: Session, on_change: Callable[[], None], *, supervised: bool
    ) -> None:
        super().__init__(app, session, app.options, on_change)
        history = UndoHistory(self.dialogs, session.link, OPERATOR)
        self._executor = CannedExecutor(self.dialogs, session.link, OPERATOR, history)
        if supervised:
            self._supervisor = CannedSupervisor(session.settings)


class CannedConsole(Console):
    """A console on a world.

    Args:
        world: What there is to see.
        profile: How the database is named.
        supervised: A worker of this console runs.
    """

    def __init__(self, world: World, *, profile: Profile | None = None, supervised: bool = False) -> None:
        self._world = world
        self._supervised = supervised
        settings = load_settings(NO_FILE, database_url=URL, concurrency=4, batch_size=8)
        super().__init__(settings, profile or Profile(), Options(OPERATOR, env_file=Path(NO_FILE)))

    def _wire(self, settings: Settings, profile: Profile) -> None:
        super()._wire(settings, profile)  # what only looks, as it is
        session = CannedSession(
            self._world, settings, profile, on_state=self._state_changed, on_answer=self._answered
        )
        self.session = session
        self.desk = CannedDesk(self, session, self._state_changed, supervised=self._supervised)
