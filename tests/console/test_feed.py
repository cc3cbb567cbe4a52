"""The feed: answers follow what anybody commits, over a connection that may go and come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from embedq_tui.live import feed, link
from embedq_tui.live.feed import Lost
from embedq_tui.live.questions import Answer, Question
from embedq_tui.live.session import Session
from embedq_tui.live.store import Judge, Look
from embedq_tui.live.troubles import troubles
from embedq_tui.profiles import Profile
from embedq_tui.screens.frame import alert
from embedq_worker.configuration.loading import load_settings
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection as AnyConnection
from embedq_worker.database.listener import Hearing
from tests.commands.actors import start_worker
from tests.support.content import add_articles, queue_tasks, queued_articles
from tests.support.databases import Connection, Database
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until


@dataclass(frozen=True)
class Pending(Question[int]):
    """How many tasks wait; slow on demand."""

    name: str = ""
    delay_s: float = 0.0
    pause_s = 0.05
    every_s = 60.0

    async def ask(self, connection: AnyConnection, settings: Settings) -> int:
        await connection.execute("SELECT pg_sleep($1)", self.delay_s)
        found: int = await connection.fetchval(
            "SELECT count(*) FROM embedding_tasks WHERE status = 'pending'"
        )
        return found


@dataclass(frozen=True)
class Rare(Pending):
    """Asked once a minute at most."""

    pause_s = 60.0


@dataclass(frozen=True)
class Often(Pending):
    """Asked as often as is allowed."""

    every_s = 0.0


@dataclass(frozen=True)
class TooLong(Pending):
    """It has too little time."""

    within_s = 0.5


@dataclass(frozen=True)
class Wrong(Question[int]):
    """Cannot be answered."""

    async def ask(self, connection: AnyConnection, settings: Settings) -> int:
        found: int = await connection.fetchval("SELECT no_such_column FROM embedding_tasks")
        return found


@dataclass(frozen=True)
class Buggy(Question[int]):
    """Fails as no question should."""

    async def ask(self, connection: AnyConnection, settings: Settings) -> int:
        raise ZeroDivisionError


@dataclass(frozen=True)
class Heeding(Question[int]):
    """Tells how often it was asked; no notification is about it."""

    every_s: float
    asked: list[float] = field(default_factory=list, compare=False)
    hears = frozenset()
    pause_s = 0.01

    async def ask(self, connection: AnyConnection, settings: Settings) -> int:
        self.asked.append(time.monotonic())
        return 0


@dataclass
class Watched:
    """A session and what it told."""

    session: Session
    answers: list[Answer[Any]] = field(default_factory=list)

    @property
    def pending(self) -> int:
        overview = self.session.store.overview
        return -1 if overview is None else overview.queue.counts.pending


@asynccontextmanager
async def watching(settings: Settings) -> AsyncIterator[Watched]:
    answers: list[Answer[Any]] = []
    session = Session(settings, Profile(), read_only=False, on_state=lambda: None, on_answer=answers.append)
    task = asyncio.create_task(session.run())
    try:
        yield Watched(session, answers)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def within(condition: Callable[[], bool]) -> float:
    """Seconds until it holds."""
    began = time.monotonic()
    await until(condition, within_s=10)
    return time.monotonic() - began


async def test_what_anybody_commits_is_known_at_once(database: Database, connection: Connection) -> None:
    async with watching(database.settings) as it:
        store = it.session.store
        await until(lambda: it.pending == 0 and store.hearing is Hearing.LISTENING)
        await asyncio.sleep(0.3)  # a quiet queue: nothing is under way
        articles = await add_articles(connection, ["One."])
        took = []
        for number in range(1, 11):
            await queue_tasks(connection, articles)
            took.append(await within(lambda expected=number: it.pending == expected))  # type: ignore[misc]
        assert sorted(took)[5] < 1.0, took  # by signal, not by the five seconds of a look
        await connection.execute("DELETE FROM articles")
        await within(lambda: it.pending == 0)


async def test_a_worker_that_falls_silent_is_a_problem_as_soon_as_it_is_shown_to_be_silent(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "pause_s", 0.1)
    monkeypatch.setattr(Judge, "every_s", 60.0)
    monkeypatch.setattr(Look, "every_s", 0.5)
    soon = database.settings.dead_after_s - 2.0
    await start_worker(connection, silent=f"{soon} s")
    await connection.execute("UPDATE embedding_worker_status SET last_heartbeat = NULL")
    await queued_articles(connection, 1)
    async with watching(database.settings) as it:
        store = it.session.store
        await until(lambda: store.health is not None and not store.health.issues)
        await until(lambda: store.overview is not None and not store.overview.running, within_s=10)
        await until(lambda: store.health is not None and bool(store.health.issues), within_s=5)


async def test_an_answer_is_as_old_as_its_question(database: Database) -> None:
    async with watching(database.settings) as it:
        it.session.subscribe([Pending(delay_s=0.5)])
        await until(lambda: bool(it.answers))
        assert time.monotonic() - it.answers[0].at >= 0.5


async def test_what_takes_the_database_longer_is_asked_less_often(database: Database) -> None:
    async with watching(database.settings) as it:
        it.session.subscribe([Often(delay_s=0.1)])
        await until(lambda: len(it.answers) > 1)
        assert it.answers[1].at - it.answers[0].at > 0.3


async def test_what_no_screen_shows_is_not_asked(database: Database) -> None:
    left, shown = Heeding(0.01), Heeding(0.02)
    async with watching(database.settings) as it:
        it.session.subscribe([left])
        await until(lambda: len(left.asked) > 1)
        it.session.subscribe([shown])
        before = len(left.asked)
        await until(lambda: len(shown.asked) > 3)
        assert len(left.asked) == before


async def test_after_a_gap_in_the_notifications_everything_is_asked_again(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "POLL_S", 60.0)
    question = Heeding(60.0)
    async with watching(database.settings) as it:
        it.session.subscribe([question])
        await until(lambda: bool(question.asked) and it.session.store.hearing is Hearing.LISTENING)
        ended_at = time.monotonic()
        await connection.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'embedq-tui listener'"""
        )
        await until(lambda: question.asked[-1] > ended_at, within_s=10)


async def test_a_question_stands_until_another_takes_its_place(
    database: Database, connection: Connection
) -> None:
    async with watching(database.settings) as it:
        slow, quick = Pending("slow", 0.5), Pending("quick")
        it.session.subscribe([slow])
        await until(lambda: it.session.store.overview is not None)
        it.session.subscribe([quick])
        await until(lambda: len(it.answers) == 1)
        await queued_articles(connection, 2)
        await until(lambda: it.answers[-1].value == 2)
        await asyncio.sleep(0.6)
        assert {answer.question for answer in it.answers} == {quick}


async def test_a_question_that_cannot_be_answered_is_told_and_harms_no_other(
    database: Database, connection: Connection
) -> None:
    async with watching(database.settings) as it:
        it.session.subscribe([Wrong(), Buggy(), Pending()])
        await until(lambda: len({answer.question for answer in it.answers}) == 3)
        told = {answer.question: (answer.value, answer.error is not None) for answer in it.answers}
        assert told == {Wrong(): (None, True), Buggy(): (None, True), Pending(): (0, False)}
        assert it.session.store.lost is None


async def test_a_question_that_takes_too_long_is_told_and_is_no_outage(database: Database) -> None:
    async with watching(database.settings) as it:
        store, outages = it.session.store, list[Lost]()
        await until(lambda: store.overview is not None)
        slow, quick = TooLong(delay_s=60.0), Heeding(0.1)
        it.session.subscribe([slow, quick])

        def told() -> list[Answer[Any]]:
            outages.extend(filter(None, [store.lost]))
            return [answer for answer in it.answers if answer.question == slow]

        await until(lambda: bool(told()))
        assert told()[0].error is not None
        assert not outages
        assert len(told()) == 1  # the next try is not the next thing that it does
        it.session.again()
        await until(lambda: len(told()) == 2)
        assert not outages


async def test_a_locked_queue_is_no_lost_database_and_is_told_with_who_holds_the_lock(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "WATCH_S", 0.2)
    monkeypatch.setattr(Look, "within_s", 1.5)
    monkeypatch.setattr(Judge, "within_s", 1.5)
    async with watching(database.settings) as it:
        store = it.session.store
        await until(lambda: store.overview is not None and store.health is not None)
        await connection.execute("BEGIN; LOCK TABLE embedding_tasks")
        it.session.again()
        await until(lambda: store.error is not None)
        told = troubles(store)[0]
        assert f"pg_terminate_backend({connection.get_server_pid()})" in told.advice
        assert str(connection.get_server_pid()) in alert(store, 80).plain
        assert store.lost is None
        await connection.execute("COMMIT")
        await until(lambda: store.error is None, within_s=20)


async def test_a_wait_for_a_lock_is_no_load_that_calls_for_a_pause(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "WATCH_S", 0.2)
    # A pause for the wait is longer than is waited for here, one for the other answers shorter.
    monkeypatch.setattr(feed, "DUTY", 100.0)
    async with watching(database.settings) as it:
        it.session.subscribe([Pending()])
        await until(lambda: bool(it.answers) and it.session.store.hearing is Hearing.LISTENING)
        other = await database.connect()
        await other.execute("BEGIN; LOCK TABLE embedding_tasks")
        locked_at = time.monotonic()
        it.session.again()
        await until(lambda: it.session.link.held_up_since(locked_at))
        await other.execute("COMMIT")
        await queued_articles(connection, 2)
        await until(lambda: it.answers[-1].value == 2)


async def test_a_database_that_goes_is_waited_for_and_looked_at_again(
    database: Database, connection: Connection
) -> None:
    async with (
        TcpProxy(database.url) as proxy,
        watching(load_settings(database_url=proxy.url)) as it,
    ):
        store = it.session.store
        await until(lambda: it.pending == 0 and store.hearing is Hearing.LISTENING)
        proxy.refuses = True
        proxy.cut()
        it.session.again()
        await until(lambda: store.lost is not None)
        await queued_articles(connection, 3)
        assert it.pending == 0  # what was known is kept
        assert store.age_s() is not None
        first = store.lost
        assert first is not None
        await until(lambda: store.lost is not None and store.lost.tries > first.tries, within_s=10)
        assert store.lost is not None
        assert store.lost.since == first.since
        assert store.lost.retry_at > first.retry_at > first.since
        proxy.refuses = False
        it.session.again()
        await until(lambda: store.lost is None and it.pending == 3, within_s=20)
        await until(lambda: store.hearing is Hearing.LISTENING, within_s=20)
        slow = TooLong(delay_s=60.0)  # as before, this is no outage
        it.session.subscribe([slow, Heeding(0.1)])
        await until(lambda: any(answer.question == slow for answer in it.answers))
        assert store.lost is None


async def test_after_a_suspension_the_next_attempt_is_told_although_many_failed_before(
    database: Database,
) -> None:
    async with TcpProxy(database.url) as proxy:
        settings = load_settings(database_url=proxy.url)
        proxy.refuses = True
        async with watching(settings) as before:
            session = before.session
            await until(lambda: session.store.lost is not None and session.store.lost.tries > 3, within_s=30)
        lost, began = session.store.lost, time.monotonic()
        assert lost is not None
        running = asyncio.create_task(session.run())
        await until(lambda: session.store.lost is not lost)
        running.cancel()
        assert session.store.lost is not None
        assert session.store.lost.tries < lost.tries
        assert session.store.lost.retry_at > began
        assert session.store.lost.since == lost.since


async def test_where_signals_arrive_it_does_not_poll(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "POLL_S", 0.01)
    rare, often = Heeding(60.0), Heeding(0.01)
    async with watching(database.settings) as it:
        await until(lambda: it.session.store.hearing is Hearing.LISTENING)
        it.session.subscribe([rare, often])
        await until(lambda: len(often.asked) > 5)
        assert len(rare.asked) == 1


async def test_where_signals_do_not_arrive_it_polls_and_says_so(
    database: Database, connection: Connection
) -> None:
    async with (
        TcpProxy(database.url, deaf=True) as proxy,
        watching(load_settings(database_url=proxy.url)) as it,
    ):
        await until(lambda: it.session.store.hearing is Hearing.DEAF, within_s=10)
        it.session.subscribe([Pending()])  # which signals ask, or else the clock once a minute
        await until(lambda: bool(it.answers))
        await queued_articles(connection, 2)
        await until(lambda: it.pending == it.answers[-1].value == 2, within_s=5)


async def test_a_console_on_another_programs_database_shows_its_queue(
    empty_database: Database,
) -> None:
    connection = await empty_database.connect()
    async with watching(empty_database.settings) as it:
        await until(lambda: it.session.store.error is not None)
        await connection.execute(
            """CREATE TABLE articles (id serial PRIMARY KEY);
               CREATE TABLE embedding_tasks (id int, status text, priority text);
               CREATE TABLE embedding_worker_status (id int, is_running bool, last_heartbeat timestamptz,
                   tasks_processed int, tasks_succeeded int, tasks_failed int, started_at timestamptz);
               INSERT INTO embedding_tasks VALUES (1, 'pending', 'normal')"""
        )
        it.session.again()
        await until(lambda: it.pending == 1, within_s=10)
        assert it.session.store.overview is not None
        assert not it.session.store.overview.migrated


async def test_who_asks_to_look_now_does_not_wait_for_a_pause(
    database: Database, connection: Connection
) -> None:
    async with watching(database.settings) as it:
        rare = Rare()
        it.session.subscribe([rare])
        await until(lambda: len(it.answers) == 1)
        await queued_articles(connection, 2)
        it.session.again()
        await until(lambda: it.answers[-1].value == 2)
