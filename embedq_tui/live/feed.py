"""Keeps the answers to subscribed questions up to date: at once, at every notification, and regularly."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from embedq_tui.live.link import Link
from embedq_tui.live.questions import Answer, Question
from embedq_worker.database.channels import CHANGES, WORK
from embedq_worker.database.connections import RECONNECT
from embedq_worker.database.failures import EXPECTED_ERRORS, explained, one_line
from embedq_worker.database.listener import Heard, Hearing, Listener
from embedq_worker.errors import EmbedqError, HeldUp, Unreachable
from embedq_worker.waits import first_of

POLL_S = 1.0
"""Seconds between polls while notifications do not arrive."""

DUTY = 3.0
"""Minimum pause after an answer, as a multiple of the time it took: limits the load on the database."""

MERGE_S = 0.1
"""Minimum seconds between two answers to a question, whatever asks for them."""

ANY = "resync"

_NARROW = "narrow the filter, or use a command, which waits longer"


class Lost(NamedTuple):
    """The database does not respond.

    Attributes:
        error: What happened.
        since: When that began, by `time.monotonic`.
        retry_at: Time of the next attempt, by the same clock.
        tries: Consecutive failures, including this one.
    """

    error: EmbedqError
    since: float
    retry_at: float
    tries: int


@dataclass(slots=True)
class _Subscription:
    """A subscribed question and the task that asks it.

    Attributes:
        news: Set when the answer may have changed.
        wanted: Set when the operator wants it now, without the usual pause.
    """

    question: Question[Any]
    news: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    asker: asyncio.Task[None] | None = None


class Feed:
    """Asks the subscribed questions over a link, as often as is useful.

    If the database cannot be reached, the previous answers stay, `on_lost` is called, and the questions are
    retried for ever. All asking tasks belong to `run`.

    Args:
        link: An open link.
        on_answer: Called with each answer, in order of arrival.
        on_lost: Called when the database stops responding, and with None when it responds again.
        on_hearing: Called when notifications stop arriving or arrive again.
    """

    def __init__(
        self,
        link: Link,
        *,
        on_answer: Callable[[Answer[Any]], None],
        on_lost: Callable[[Lost | None], None],
        on_hearing: Callable[[Heard], None],
    ) -> None:
        self._link = link
        self._listener = Listener(
            link.settings,
            self.heard,
            self._hearing,
            channels=(WORK, CHANGES),
            application="embedq-tui listener",
        )
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._on_hearing = on_hearing
        self._subscriptions: dict[Question[Any], _Subscription] = {}
        self._group: asyncio.TaskGroup | None = None
        self._listening = False
        self._lost: Lost | None = None
        self._answered_at = -math.inf

    async def run(self) -> None:
        """Keep asking until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            if self._lost is not None:  # each question counts its failures anew
                self._lost = self._lost._replace(tries=0)
            try:
                for subscription in self._subscriptions.values():
                    self._begin(subscription)
                await self._listener.run()
            finally:
                self._group = None
                self._link.give_up()

    def subscribe(self, questions: Iterable[Question[Any]]) -> None:
        """Subscribe to exactly these questions; those already subscribed carry on undisturbed."""
        wanted = dict.fromkeys(questions)
        for question in [question for question in self._subscriptions if question not in wanted]:
            subscription = self._subscriptions.pop(question)
            if subscription.asker is not None:
                subscription.asker.cancel()
        for question in wanted:
            if question not in self._subscriptions:
                self._subscriptions[question] = subscription = _Subscription(question)
                if self._group is not None:
                    self._begin(subscription)

    def heard(self, signal: str) -> None:
        """Ask again whatever a notification may have changed; after a resync, everything."""
        for subscription in self._subscriptions.values():
            if signal in subscription.question.hears or signal == ANY:
                subscription.news.set()

    def again(self) -> None:
        """Ask everything now, and retry a lost connection now, because the operator wants it."""
        self.listen_again()
        for subscription in self._subscriptions.values():
            subscription.news.set()
            subscription.wanted.set()

    def listen_again(self) -> None:
        """If notifications do not arrive, try at once to receive them."""
        self._listener.hurry()

    def _hearing(self, heard: Heard) -> None:
        self._listening = heard.hearing is Hearing.LISTENING
        self._on_hearing(heard)

    def _begin(self, subscription: _Subscription) -> None:
        assert self._group is not None
        subscription.asker = self._group.create_task(self._keep_asking(subscription))

    async def _keep_asking(self, subscription: _Subscription) -> None:
        question, news = subscription.question, subscription.news
        tries, notified = 0, False
        while True:
            news.clear()
            subscription.wanted.clear()
            began = time.monotonic()
            error = await self._ask(question)
            took_s = min(time.monotonic() - began, question.within_s)  # longer only if it was frozen
            if error is not None:
                await self._wait_out(error, tries, news)
                tries, notified = tries + 1, True
                continue
            tries = 0
            # A wait for another session's lock is no load, and what it was locked for has changed the answer.
            load_s = 0.0 if self._link.held_up_since(began) else DUTY * took_s
            rest_s = max(question.pause_s, load_s)
            await asyncio.sleep(min(rest_s, MERGE_S))
            await first_of(subscription.wanted, timeout_s=rest_s - MERGE_S)
            if not notified:
                await first_of(news, timeout_s=self._every_s(question))
            # One notification stands for several commits, and some become visible only after it: ask twice.
            notified = news.is_set()

    def _every_s(self, question: Question[Any]) -> float:
        return question.every_s if self._listening else min(question.every_s, max(POLL_S, question.pause_s))

    async def _ask(self, question: Question[Any]) -> Unreachable | None:
        """Ask once, and deliver the answer.

        Returns:
            The error, if the database cannot be reached or another session holds a lock.
        """
        asked_at, value, error = time.monotonic(), None, None
        try:
            async with self._link.connection(within_s=question.within_s) as connection:
                asked_at = time.monotonic()  # it may have waited for a free connection
                value = await question.ask(connection, self._link.settings)
        except (EmbedqError, *EXPECTED_ERRORS) as failure:
            error = explained(failure, self._link.settings)
            if isinstance(error, HeldUp):
                self._answered(Answer(question, None, error, asked_at))
                return error
            if isinstance(error, Unreachable):
                if not self._is_slow(error, asked_at):
                    return error
                error = EmbedqError(f"this takes the database longer than {question.within_s:g} s", _NARROW)
        except Exception as bug:
            # The outermost edge of a task: a bug in one question must not take the others down.
            error = EmbedqError(f"internal error: {type(bug).__name__}: {one_line(bug)}")
        self._answered(Answer(question, value, error, asked_at))
        return None

    def _is_slow(self, error: Unreachable, asked_at: float) -> bool:
        """Whether only this question is too much for the database, which has answered another one since."""
        late = isinstance(error.__cause__, TimeoutError)
        return late and self._lost is None and self._answered_at > asked_at

    def _answered(self, answer: Answer[Any]) -> None:
        if answer.error is None:
            self._answered_at = time.monotonic()
        if self._lost is not None:
            self._lost = None
            self._on_lost(None)
            self.again()
        if answer.question in self._subscriptions:
            self._on_answer(answer)

    async def _wait_out(self, error: Unreachable, tries: int, news: asyncio.Event) -> None:
        """Wait before the next attempt; the operator may cut it short."""
        delay_s, now = RECONNECT.delay_s(tries), time.monotonic()
        since = self._lost.since if self._lost else now
        held_up = isinstance(error, HeldUp)  # while other questions are answered
        if not held_up and (self._lost is None or self._lost.tries <= tries):
            self._lost = Lost(error, since, now + delay_s, tries + 1)
            self._on_lost(self._lost)
        await first_of(news, timeout_s=delay_s)
