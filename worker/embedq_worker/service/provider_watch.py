"""Watch the provider's circuit breaker, and probe the provider when it is this worker's turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from embedq_worker.backoff import Backoff
from embedq_worker.database.failures import EXPECTED_ERRORS
from embedq_worker.providers.base import ProviderError, ProviderRateLimited, control_text
from embedq_worker.queue import breaker
from embedq_worker.queue.breaker import Held
from embedq_worker.queue.words import ALONE
from embedq_worker.service.parts import Parts
from embedq_worker.waits import first_of

LOOK_EVERY_S = 5.0
LOOK_WHILE_HELD_S = 1.0

ALONE_TRIES = Backoff(5.0, 60.0)
"""Delay between tries of a provider that works for other workers."""


class ProviderWatch:
    """Watches one provider for one worker.

    Args:
        parts: What the worker is made of.
        on_checked: Called after the check at startup, with what is wrong or None.
        on_change: Called when requests are held back, are resumed, or the reason changes.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        on_checked: Callable[[ProviderError | None], None],
        on_change: Callable[[Held | None], None],
    ) -> None:
        self._pool = parts.pool
        self._provider = parts.provider
        self._pipeline = parts.pipeline
        self._key = parts.scope.provider
        self._log = parts.log
        self._on_checked = on_checked
        self._on_change = on_change
        self._reason = ""
        self._tries = 0
        self._news = asyncio.Event()

    def look(self) -> None:
        """Look now: the breaker may have changed."""
        self._news.set()

    async def run(self) -> None:
        """Check the provider, then watch its breaker until cancelled."""
        self._on_checked(await self._check())
        while True:
            self._news.clear()
            try:
                held = await breaker.look(self._pool, self._key)
                if held is None and self._pipeline.unproven:
                    await self._prove()
                    continue
                self._report(held)
                if held is not None and held.probe:
                    await self._probe()
                    continue
            except EXPECTED_ERRORS:
                held = None
            await self._pause(held)

    async def _check(self) -> ProviderError | None:
        """Find problems at startup that would make every task fail, and record them in the breaker."""
        try:
            report = await self._provider.check()
        except ProviderError as error:
            self._log.error("the provider does not work", error=error.message, advice=error.advice)
            fault = error
            self._pipeline.unproven = not isinstance(error, ProviderRateLimited)
            await self._record(lambda: breaker.failed(self._pool, self._key, fault, threshold=1))
            return fault
        await self._record(lambda: breaker.works(self._pool, self._key))
        self._log.info(
            "the provider works", model=report.model, detail=report.detail, seconds=round(report.seconds, 3)
        )
        return None

    async def _record(self, call: Callable[[], Awaitable[object]]) -> None:
        """Tell the breaker what was found; a worker does not end because a trigger, say, refuses that."""
        with suppress(*EXPECTED_ERRORS):
            await self._pipeline.persist(call)

    def _report(self, held: Held | None) -> None:
        reason = held.reason if held is not None else ""
        if reason == self._reason:
            return
        self._reason = reason
        if held is None:
            self._log.info("requests to the provider go on")
        else:
            self._log.warning(
                "requests to the provider are held", state=held.state, reason=reason, advice=held.advice
            )
        self._on_change(held)

    async def _pause(self, held: Held | None) -> None:
        pause_s = LOOK_EVERY_S if held is None else min(max(held.wait_s, 0.05), LOOK_WHILE_HELD_S)
        await first_of(self._news, timeout_s=pause_s)

    async def _probe(self) -> None:
        """Probe once. If an operator asks for a new probe, give up this one, which may hang for a minute."""
        request = asyncio.create_task(self._provider.embed([control_text()]))
        lease = asyncio.create_task(self._keep_lease())
        try:
            await asyncio.wait((request, lease), return_when=asyncio.FIRST_COMPLETED)
            if not request.done():
                return
            request.result()
        except ProviderError as error:
            wait_s = await breaker.failed(self._pool, self._key, error, probe=True)
            self._log.warning(
                "the provider still does not work", error=error.message, next_probe_s=round(wait_s)
            )
            return
        finally:
            request.cancel()
            lease.cancel()
            await asyncio.gather(request, lease, return_exceptions=True)
        self._pipeline.unproven = False
        await breaker.works(self._pool, self._key)

    async def _prove(self) -> None:
        """Try a provider that works for other workers; if it does not for this one, wait for the next try.

        Meanwhile the breaker is theirs: a probe of this worker would only delay the next one of theirs.
        """
        try:
            with suppress(ProviderRateLimited):  # it deals with this worker as with the others
                await self._provider.embed([control_text()])
        except ProviderError as error:
            self._report(Held("open", ALONE + error.message, error.advice, 0.0, probe=False))
            await first_of(self._news, timeout_s=ALONE_TRIES.delay_s(self._tries))
            self._tries += 1
        else:
            self._pipeline.unproven, self._tries = False, 0

    async def _keep_lease(self) -> None:
        """Keep extending the lease of the probe; return once it is over."""
        kept = True
        while kept:
            self._news.clear()
            await first_of(self._news, timeout_s=breaker.PROBE_LEASE_S / 3)
            with suppress(*EXPECTED_ERRORS):
                kept = await breaker.still_probing(self._pool, self._key)
