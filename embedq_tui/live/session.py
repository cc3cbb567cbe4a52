"""A session with one database: its link, its feed, its store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from embedq_tui.live.feed import Feed
from embedq_tui.live.link import Link
from embedq_tui.live.questions import Answer, Question, T
from embedq_tui.live.store import ACCESS, ALWAYS, HEALTH, Store
from embedq_tui.profiles import Profile
from embedq_worker.configuration.settings import Settings


class Session:
    """Follows one database for as long as `run` runs.

    Args:
        settings: Where it is.
        profile: The operator's profile of it.
        read_only: The operator disabled changes.
        on_state: Called when the store changed.
        on_answer: Called with each answer to a screen's question.
    """

    def __init__(
        self,
        settings: Settings,
        profile: Profile,
        *,
        read_only: bool,
        on_state: Callable[[], None],
        on_answer: Callable[[Answer[Any]], None],
    ) -> None:
        self.settings = settings
        self.profile = profile
        self.link = Link(settings)
        self.store = Store(on_state, on_answer)
        self._read_only = read_only
        self._feed = Feed(
            self.link,
            on_answer=self._answered,
            on_lost=self.store.was_lost,
            on_hearing=self.store.heard,
        )
        self._feed.subscribe(ALWAYS)

    async def run(self) -> None:
        """Follow the database until cancelled."""
        async with self.link.opened():
            await self._feed.run()

    def subscribe(self, questions: Iterable[Question[Any]]) -> None:
        """Subscribe to the questions of the current screen."""
        self._feed.subscribe((*ALWAYS, *questions))

    def again(self) -> None:
        """Refresh everything now."""
        self._feed.again()

    def _answered(self, answer: Answer[Any]) -> None:
        before = self.store.access
        self.store.answered(answer)
        if self.store.doubts_access:
            self._feed.heard(ACCESS)
        if self.store.doubts_health:
            self._feed.heard(HEALTH)
        now = self.store.access
        if before and now and before.is_replica and not now.is_replica:
            self._feed.listen_again()  # it was promoted

    async def ask(self, question: Question[T]) -> T:
        """Ask once.

        Raises:
            EmbedqError: It failed.
        """
        async with self.link.connection(within_s=question.within_s) as connection:
            return await question.ask(connection, self.settings)

    @property
    def read_only(self) -> str:
        """Why nothing may be changed here; empty if changes are allowed."""
        if self._read_only:
            named = self.profile.read_only
            return (
                f"the profile {self.profile.name} is read-only"
                if named
                else "the console was started with --read-only"
            )
        found = self.store.access
        return "the database has not answered yet" if found is None else found.why_not
