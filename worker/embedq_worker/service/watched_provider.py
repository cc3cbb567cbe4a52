"""A provider that knows for how long a request has gone unanswered: its timeout may be minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from embedq_worker.providers.base import CheckReport, Provider, Vector

UNANSWERED_S = 30.0
"""Seconds without an answer of which an operator should know; a server may be loading its model."""


class WatchedProvider(Provider):
    """The provider of a worker, which notices requests that are not answered for long.

    Args:
        provider: Answers.
        on_change: Called when a request has not been answered for `UNANSWERED_S`, and when it ends after all.
    """

    def __init__(self, provider: Provider, on_change: Callable[[], object]) -> None:
        self.model = provider.model
        self.endpoint = provider.endpoint
        self.dimensions = provider.dimensions
        self.limits = provider.limits
        self._provider = provider
        self._on_change = on_change
        self._asked: dict[object, float] = {}

    @property
    def unanswered_s(self) -> float:
        """Seconds since the oldest request in flight was sent, from `UNANSWERED_S` on; otherwise 0."""
        seconds = monotonic() - next(iter(self._asked.values()), monotonic())
        return seconds if seconds >= UNANSWERED_S else 0.0

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """See `Provider`."""
        with self._asking():
            return await self._provider.embed(texts)

    async def check(self) -> CheckReport:
        """See `Provider`."""
        with self._asking():
            return await self._provider.check()

    async def aclose(self) -> None:
        """See `Provider`."""
        await self._provider.aclose()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        request = object()
        self._asked[request] = began = monotonic()  # a dict keeps the oldest first
        late = asyncio.get_running_loop().call_later(UNANSWERED_S, self._on_change)
        try:
            yield
        finally:
            late.cancel()
            del self._asked[request]
            if monotonic() - began >= UNANSWERED_S:
                self._on_change()
