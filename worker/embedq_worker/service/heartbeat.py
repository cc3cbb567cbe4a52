"""The heartbeat of a worker: reports that it is alive and why it is idle, and receives operators' orders."""

from __future__ import annotations

import asyncio

from embedq_worker.database.failures import EXPECTED_ERRORS, one_line
from embedq_worker.queue import fleet
from embedq_worker.queue.breaker import Held
from embedq_worker.queue.words import REFUSED, UNANSWERED, UNAVAILABLE
from embedq_worker.service.parts import Parts
from embedq_worker.text import age, stamp
from embedq_worker.waits import first_of

ASK_EVERY_S = 1.0
"""Minimum of seconds between two beats of a worker that polls for orders: each beat writes a row."""


class Heartbeat:
    """Beats at an interval, at once when there is news, and faster while notifications do not arrive.

    Args:
        parts: What the worker is made of.

    Attributes:
        block: ``stopped`` or ``paused`` while an operator keeps it, alone or with all others, from
            claiming; otherwise empty.
        ordered: ``graceful`` or ``force`` if an operator told this worker to exit; otherwise empty.
        concurrency: Batches at once, as set by an operator or else by the settings.
        changed: Set when one of these has changed.
        succeeded: Tasks completed so far.
        failed: Tasks failed so far.
    """

    def __init__(self, parts: Parts) -> None:
        self.block = ""
        self.ordered = ""
        self.concurrency = parts.settings.concurrency
        self.changed = asyncio.Event()
        self.succeeded = self.failed = 0
        self._counted = 0, 0  # of these, with the last beat
        self._parts = parts
        self._log = parts.log
        self._every_s = parts.settings.beat_every_s
        poll_s = parts.settings.worker_interval_ms / 1000
        self._deaf_every_s = min(self._every_s, max(poll_s, ASK_EVERY_S))
        self._listens = False
        self._was_refused = False
        self._state = "running"
        self._note = ""
        self._beat_now = parts.beat_now

    def count(self, succeeded: int, failed: int) -> None:
        """Add tasks to what the next beat reports."""
        self.succeeded += succeeded
        self.failed += failed

    def hurry(self) -> None:
        """Beat now: there may be an order, or there is something to report."""
        self._beat_now.set()

    def listening(self, works: bool) -> None:
        """Set whether notifications arrive; initially they are assumed not to."""
        self._listens = works
        self._beat_now.set()

    def stopping(self) -> None:
        """Report that the worker is stopping."""
        self._state = "stopping"
        self._beat_now.set()

    def provider(self, held: Held | None) -> None:
        """Set what the worker is waiting for because of its provider; None if nothing."""
        note = f"{UNAVAILABLE}{held.reason}" if held is not None else ""
        if note != self._note:
            self._note = note
            self._beat_now.set()

    @property
    def note(self) -> str:
        """Why the worker does not get on; empty if it does."""
        refused = self._parts.pipeline.refusals.present
        if refused:
            return f"{REFUSED}{refused}"
        if self._note:
            return self._note
        if self.block:
            return f"{self.block} by an operator"
        unanswered_s = self._parts.provider.unanswered_s
        return f"{UNANSWERED}{age(unanswered_s)}" if unanswered_s else ""

    async def run(self) -> None:
        """Beat until cancelled."""
        silent = False
        while True:
            pace_s = self._every_s if self._listens else self._deaf_every_s
            await first_of(self._beat_now, timeout_s=pace_s)
            self._beat_now.clear()
            try:
                await self.beat()
            except EXPECTED_ERRORS as error:
                if not silent:
                    self._log.warning("no heartbeat: the database does not answer", error=one_line(error))
                silent = True
                await asyncio.sleep(min(1.0, self._every_s))
                self._beat_now.set()
                continue
            if silent:
                self._log.info("the database answers again")
                self.changed.set()  # claim at once: no signal told of what was queued meanwhile
            else:  # what was refused while it did not answer may be over
                self._tell_refused()
            silent = False

    def _tell_refused(self) -> None:
        """Log when the database begins or ceases to refuse what the worker has to write."""
        refused = self._parts.pipeline.refusals.lasting
        if refused and not self._was_refused:
            self._log.warning("the database refuses statements; they are retried", error=refused)
        elif self._was_refused and not refused:
            self._log.info("the database accepts statements again")
        self._was_refused = bool(refused)

    async def beat(self) -> None:
        """Beat once.

        Raises:
            One of `failures.EXPECTED_ERRORS`.
        """
        parts = self._parts
        heard = await self._report()
        if not heard.known:
            self._log.warning("this worker was declared dead; registering again")
            succeeded, failed = self._counted
            await fleet.enter(
                parts.pool,
                parts.scope,
                parts.host,
                parts.shown_settings,
                succeeded=succeeded,
                failed=failed,
            )
            heard = await self._report()
        self._apply(heard)

    async def _report(self) -> fleet.Beat:
        parts = self._parts
        succeeded, failed = self.succeeded, self.failed
        heard = await fleet.beat(
            parts.pool,
            parts.scope.worker,
            state=self._state,
            note=self.note[:500],
            in_hand=len(parts.pipeline.in_hand),
            succeeded=succeeded,
            failed=failed,
            concurrency=self.concurrency,
        )
        if heard.known:
            self._counted = succeeded, failed
        return heard

    def _apply(self, heard: fleet.Beat) -> None:
        if heard.block != self.block:
            self.block = heard.block
            self._beat_now.set()  # to report it in the note
            if heard.block:
                since = stamp(heard.block_since) if heard.block_since else None
                self._log.info(f"claiming is {heard.block}", by=heard.block_by, since=since)
            else:
                self._log.info("claiming goes on")
            self.changed.set()
        if heard.concurrency is not None and heard.concurrency != self.concurrency:
            self._log.info("concurrency set by an operator", was=self.concurrency, now=heard.concurrency)
            self.concurrency = heard.concurrency
            self._beat_now.set()  # to report the new value
            self.changed.set()
        if heard.stop_asked and heard.stop_asked != self.ordered:
            self.ordered = heard.stop_asked
            self.changed.set()
