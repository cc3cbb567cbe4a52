"""The heartbeat of a worker: says that it lives and what it waits for, and hears what is asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from embedq_worker.database.connections import Pool
from embedq_worker.database.failures import EXPECTED_ERRORS, one_line
from embedq_worker.host import HostIdentity
from embedq_worker.logs import Log
from embedq_worker.queue import fleet
from embedq_worker.queue.breaker import Held
from embedq_worker.queue.claims import Scope
from embedq_worker.text import stamp
from embedq_worker.waits import first_of


class StopOrder(Protocol):
    """Asks the service to end."""

    def __call__(self, reason: str, *, force: bool = False) -> None: ...


ASK_EVERY_S = 1.0
"""Least seconds between two beats of a worker that asks for its orders: each writes a row."""


class Heartbeat:
    """Beats at a pace, and at once when there is news; faster while nobody can tell it that there is.

    Args:
        pool: To the migrated database.
        scope: Of the worker.
        host: Where it runs.
        shown_settings: For the list of workers, where it has to enter again.
        every_s: Seconds between beats.
        poll_s: Seconds in which it is to hear an order while no signals arrive.
        in_hand: Tells how many tasks the worker holds.
        on_order: Called when an operator asks this worker to end.
        on_resize: Called when an operator lets it work on more or fewer batches at once.
        concurrency: Batches it works on at once.
        log: For what an operator should know.

    Attributes:
        block: ``stopped`` or ``paused`` while an operator keeps all workers from claiming; else empty.
        ordered: ``graceful`` or ``force`` where an operator asked this worker to end; else empty.
    """

    def __init__(
        self,
        pool: Pool,
        scope: Scope,
        host: HostIdentity,
        shown_settings: Mapping[str, object],
        *,
        every_s: float,
        poll_s: float,
        in_hand: Callable[[], int],
        on_order: StopOrder,
        on_resize: Callable[[int], None],
        concurrency: int,
        log: Log,
    ) -> None:
        self.block = ""
        self._pool = pool
        self._scope = scope
        self._host = host
        self._shown_settings = shown_settings
        self._concurrency = concurrency
        self._every_s = every_s
        self._unsignalled_every_s = min(every_s, max(poll_s, ASK_EVERY_S))
        self._signalled = False
        self._in_hand = in_hand
        self._on_order = on_order
        self._on_resize = on_resize
        self._log = log
        self._state = "running"
        self._note = ""
        self._succeeded = 0
        self._failed = 0
        self._hurry = asyncio.Event()
        self.ordered = ""

    def count(self, succeeded: int, failed: int) -> None:
        """Add tasks to what the next beat reports."""
        self._succeeded += succeeded
        self._failed += failed

    def hurry(self) -> None:
        """Beat now: an operator said something."""
        self._hurry.set()

    def signalled(self, arrives: bool) -> None:
        """Whether signals arrive; until it is told, they do not."""
        self._signalled = arrives
        self._hurry.set()

    def stopping(self) -> None:
        """The worker claims no more."""
        self._state = "stopping"
        self._hurry.set()

    def provider(self, held: Held | None) -> None:
        """What the worker waits for on the side of its provider."""
        note = f"provider: {held.reason}" if held is not None else ""
        if note != self._note:
            self._note = note
            self._hurry.set()

    @property
    def note(self) -> str:
        """What keeps the worker from claiming; empty where nothing does."""
        return self._note or (f"{self.block} by an operator" if self.block else "")

    async def run(self) -> None:
        """Beat for ever; ends by cancellation only. A beat that fails is made up for by the next."""
        silent = False
        while True:
            pace_s = self._every_s if self._signalled else self._unsignalled_every_s
            await first_of(self._hurry, timeout_s=pace_s)
            self._hurry.clear()
            try:
                await self.beat()
            except EXPECTED_ERRORS as error:
                if not silent:
                    self._log.warning("no heartbeat: the database does not answer", error=one_line(error))
                silent = True
                await asyncio.sleep(min(1.0, self._every_s))
                self._hurry.set()
                continue
            if silent:
                self._log.info("the database answers again")
            silent = False

    async def beat(self) -> None:
        """Beat once.

        Raises:
            One of `failures.EXPECTED_ERRORS`: what was counted is kept for the next beat.
        """
        succeeded, failed = self._succeeded, self._failed
        self._succeeded = self._failed = 0
        try:
            heard = await fleet.beat(
                self._pool,
                self._scope.worker,
                state=self._state,
                note=self.note[:500],
                in_hand=self._in_hand(),
                succeeded=succeeded,
                failed=failed,
                concurrency=self._concurrency,
            )
        except BaseException:
            self.count(succeeded, failed)
            raise
        if not heard.known:
            self._log.warning("this worker was taken for dead; entering again")
            await fleet.enter(self._pool, self._scope, self._host, self._shown_settings)
        self._hear(heard)

    def _hear(self, heard: fleet.Beat) -> None:
        if heard.block != self.block:
            self.block = heard.block
            self._hurry.set()  # with the note about it
            if heard.block:
                since = stamp(heard.block_since) if heard.block_since else None
                self._log.info(f"workers are {heard.block}", by=heard.block_by, since=since)
            else:
                self._log.info("workers may claim again")
        if heard.concurrency is not None and heard.concurrency != self._concurrency:
            self._log.info("concurrency set by an operator", was=self._concurrency, now=heard.concurrency)
            self._concurrency = heard.concurrency
            self._hurry.set()  # to say that it is so
            self._on_resize(heard.concurrency)
        if heard.stop_asked and heard.stop_asked != self.ordered:
            self.ordered = heard.stop_asked
            if self._state == "stopping" and heard.stop_asked == "graceful":
                return  # as it does already; asking twice would force it
            self._on_order("asked by an operator", force=heard.stop_asked == "force")
