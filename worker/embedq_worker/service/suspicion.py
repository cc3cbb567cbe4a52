"""Whether the provider fails, or one text that it breaks down on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from uuid import UUID

from embedq_worker.providers.base import ProviderUnavailable
from embedq_worker.service.embedder import CONTROL_TEXT, Embedded, Embedder, Outcome

ASKED_AGAIN = 2
"""Times in a row that a suspect has to fail once more before it is charged: at once, for a provider that
fails every second or third request cannot keep step with that, and after the control text."""

CONTROLS = 3
"""Times in a row that the control text has to work before a text is suspected. That costs little; to ask once
more for a text that is never answered costs a timeout."""

_REMEMBERED = 10_000
"""Suspects at most: with so many it is the provider."""


class Suspicion:
    """Remembers the tasks in whose company the provider failed: when it does so again, is it a text of those?

    Args:
        embedder: Asks for the control text.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._suspects: set[UUID] = set()

    async def is_a_text(self, tasks: Iterable[UUID]) -> bool:
        """Whether it is a text of these that the provider breaks down on, again, while it embeds others.

        Without this, such a text would come back to the head of the queue for ever, and hold everybody up.

        Args:
            tasks: That the provider failed.
        """
        failed = set(tasks)
        if self._suspects.isdisjoint(failed):
            if len(self._suspects) > _REMEMBERED:
                self._suspects.clear()
            self._suspects |= failed
            return False
        return await self._embeds_others()

    async def ask_again(
        self,
        task: UUID,
        outcomes: dict[str, Outcome],
        ask: Callable[[Sequence[str]], Awaitable[Mapping[str, Outcome]]],
    ) -> None:
        """Ask again for what a suspect lacks, until it has failed often enough to be charged.

        A provider that fails now and then embeds it sooner, or fails the control text, which clears it.

        Args:
            task: Alone in its batch; nothing is done where it is no suspect.
            outcomes: By text; what is answered now takes its place there.
            ask: Embeds texts.
        """
        failed = 0
        while task in self._suspects and failed < ASKED_AGAIN and (lacking := _unavailable(outcomes)):
            if failed and not await self._embeds_others():
                self._suspects.discard(task)
                return
            outcomes |= await ask(lacking)
            failed = failed + 1 if len(_unavailable(outcomes)) == len(lacking) else 0

    def clear(self, tasks: Iterable[UUID]) -> None:
        """Suspect these no longer: they have come to an end."""
        if self._suspects:
            self._suspects.difference_update(tasks)

    async def _embeds_others(self) -> bool:
        """Whether the provider embeds a text that is nobody's."""
        for _ in range(CONTROLS):
            control = await self._embedder.embed([CONTROL_TEXT])
            if not isinstance(control.outcomes[0], Embedded):
                return False
        return True


def _unavailable(outcomes: Mapping[str, Outcome]) -> list[str]:
    """The texts that the provider failed."""
    return [text for text, outcome in outcomes.items() if isinstance(outcome, ProviderUnavailable)]
