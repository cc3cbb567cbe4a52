"""Find out whether the provider is failing, or a single text makes it fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from time import monotonic
from uuid import UUID

from embedq_worker.providers.base import (
    ProviderError,
    ProviderMisconfigured,
    ProviderUnavailable,
    control_text,
)
from embedq_worker.service.embedder import Embedded, Embedder, TextOutcome

ASKED_AGAIN = 2
"""Consecutive times that a suspect has to fail again before it is charged: first immediately, then after the
control text, a pattern that a provider failing every second or third request does not produce."""

CONTROLS = 3
"""Consecutive times that the control text has to succeed before a text is blamed. That costs little, whereas
another request for a text that is never answered costs a timeout."""

SMALLER = 4
"""Factor by which the requests for a suspect shrink each time it fails again."""

MAY_BE_A_TEXT = (ProviderUnavailable, ProviderMisconfigured)
"""Failures that a single text may cause: it breaks the server, or a firewall takes it for an attack (403)."""

_REMEMBERED = 10_000
"""Maximum number of suspects; with so many, it is the provider that fails."""


class Suspicion:
    """Remembers tasks for which the provider failed; if it does so again, one of their texts may be why.

    Args:
        embedder: Embeds the control text.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._suspects: set[UUID] = set()

    def knows(self, tasks: Iterable[UUID]) -> bool:
        """Whether one of these tasks is a suspect; makes all of them suspects if none is."""
        failed = set(tasks)
        if not self._suspects.isdisjoint(failed):
            return True
        if len(self._suspects) > _REMEMBERED:
            self._suspects.clear()
        self._suspects |= failed
        return False

    async def is_a_text(self, error: ProviderError, *, known: bool) -> bool:
        """Whether the provider failed because of a text, while it embeds other texts.

        Without this check, such a text would return to the head of the queue for ever and block all others.

        Args:
            error: How it failed. What looks like a wrong configuration holds up everybody at once, so that
                already the first one is looked into.
            known: Whether it has failed before for one of the tasks.
        """
        return (known or isinstance(error, ProviderMisconfigured)) and await self._embeds_others()

    async def ask_again(
        self,
        task: UUID,
        outcomes: dict[str, TextOutcome],
        ask: Callable[[Sequence[str], int], Awaitable[Mapping[str, TextOutcome]]],
        *,
        within_s: float,
    ) -> None:
        """Retry the missing texts of a suspect until it has failed often enough to be charged.

        A provider that fails only now and then will embed them, or fail the control text, which clears the
        suspect. A slow one, or a gateway before it, may time out on the number of texts alone, so that each
        try sends fewer of them per request.

        Args:
            task: Alone in its batch; does nothing if it is not a suspect.
            outcomes: By text; new outcomes replace those.
            ask: Embeds texts, in requests smaller by a factor.
            within_s: Seconds after which no further try begins. A text that is never answered may take many
                tries until it alone is left, each a timeout.
        """
        failed, ends = 0, monotonic() + within_s
        while task in self._suspects and failed < ASKED_AGAIN and (lacking := _lacking(outcomes)):
            if monotonic() > ends:
                return
            if failed and not await self._embeds_others():
                self._suspects.discard(task)
                return
            outcomes |= await ask(lacking, SMALLER ** (failed + 1))
            failed = failed + 1 if len(_lacking(outcomes)) == len(lacking) else 0

    def clear(self, tasks: Iterable[UUID]) -> None:
        """Drop suspects that have been settled."""
        self._suspects.difference_update(tasks)

    async def _embeds_others(self) -> bool:
        """Whether the provider embeds the control text."""
        for _ in range(CONTROLS):
            control = await self._embedder.embed([control_text()])
            if not isinstance(control.outcomes[0], Embedded):
                return False
        return True


def _lacking(outcomes: Mapping[str, TextOutcome]) -> list[str]:
    """The texts for which the provider failed."""
    return [text for text, outcome in outcomes.items() if isinstance(outcome, MAY_BE_A_TEXT)]
