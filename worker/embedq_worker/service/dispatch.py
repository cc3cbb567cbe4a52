"""Claim loop: claims while slots are free, until told to stop or, in a drain, until the queue is empty."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic, perf_counter

from embedq_worker.database.failures import EXPECTED_ERRORS, explained, is_sick
from embedq_worker.database.notifier import Notifier
from embedq_worker.errors import EmbedqError, Unreachable
from embedq_worker.providers.base import ProviderError, ProviderRateLimited
from embedq_worker.queue import breaker, fleet
from embedq_worker.queue.claims import ClaimedTask
from embedq_worker.service.heartbeat import Heartbeat
from embedq_worker.service.metrics import WorkerMetrics
from embedq_worker.service.parts import Parts
from embedq_worker.service.pipeline import BatchReport
from embedq_worker.waits import first_of

RESCAN_S = 0.05
"""One notification may stand for several commits of the same moment: scan again for those slightly later."""

DRAIN_HORIZON_S = 60.0
"""A drain waits for tasks that become due within this time (retries), and leaves the rest."""

DATABASE_PAUSE_S = 1.0

DATABASE_POLL_S = 5.0
"""Seconds between two claims at most while the database refuses them: no signal need tell that it accepts
them again, and the poll interval may be an hour."""

GROUND_POLLS = 6
"""Polls of an idle worker between two checks of its rights. Row-level security that is switched on meanwhile
refuses nothing: it hides all tasks, or those that could be claimed."""


class Dispatcher:
    """Claims batches and runs each through the pipeline.

    Args:
        parts: What the worker is made of.
        heartbeat: Knows operators' orders; reports what was done.
        notifier: Notifies consoles of changes.
        metrics: Records each batch and claim.
        drain: End when the queue is empty.

    Attributes:
        ending: Set once the dispatcher was told to stop.
        stop_reason: Why; empty until then.
    """

    def __init__(
        self, parts: Parts, heartbeat: Heartbeat, notifier: Notifier, metrics: WorkerMetrics, *, drain: bool
    ) -> None:
        self._settings = parts.settings
        self._pool = parts.pool
        self._pipeline = parts.pipeline
        self._scope = parts.scope
        self._log = parts.log
        self._heartbeat = heartbeat
        self._notifier = notifier
        self._metrics = metrics
        self._drain = drain
        self._told_waiting = False
        self._busy = 0
        self._checked = asyncio.Event()
        self._freed = asyncio.Event()
        self._wake = asyncio.Event()
        self._signalled = False
        self._looked_again = False
        self._ground_at = monotonic()
        self._ends_at: float | None = None
        self._limit: asyncio.Timeout | None = None
        self._provider_fault: ProviderError | None = None
        self._failure: EmbedqError | None = None
        self._claiming_failed = False
        self.ending = asyncio.Event()
        self.stop_reason = ""

    def stop(self, reason: str, *, force: bool = False) -> None:
        """Stop: finish the batches in flight within the grace period, or stop at once with `force`.

        A second call forces as well.
        """
        self._ends_at = asyncio.get_running_loop().time()
        if not self.ending.is_set():
            self.stop_reason = reason
            self._log.info("stopping", reason=reason, in_hand=len(self._pipeline.in_hand))
            self._heartbeat.stopping()
            self._ends_at += 0.0 if force else self._settings.shutdown_grace_ms / 1000
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(self._ends_at)
        for waited_for in (self.ending, self._checked, self._wake, self._freed):
            waited_for.set()

    def provider_checked(self, fault: ProviderError | None) -> None:
        """Start claiming: the initial check of the provider is done.

        Args:
            fault: What is wrong with the provider, whose breaker is then open; None if it works.
        """
        self._provider_fault = fault
        self._checked.set()

    def wake(self) -> None:
        """Try to claim now: what prevented it is over."""
        self._wake.set()

    def signalled(self) -> None:
        """Try to claim now, and again a moment later: the queue has changed."""
        self._signalled = True
        self._wake.set()

    async def obey(self) -> None:
        """Follow operators' orders as the heartbeat hears of them, until cancelled."""
        orders = self._heartbeat
        while True:
            await orders.changed.wait()
            orders.changed.clear()
            self._pipeline.resize(orders.concurrency)
            self._metrics.resize(orders.concurrency)
            self._freed.set()
            self._wake.set()
            forced = orders.ordered == "force"
            if forced or (orders.ordered and not self.ending.is_set()):
                self.stop("asked by an operator", force=forced)

    async def run(self) -> None:
        """Claim while slots are free until told to stop; then wait for the batches in flight.

        Raises:
            EmbedqError: A drain cannot continue because an operator stopped it or the provider does not work;
                or the database no longer accepts embeddings.
        """
        await self._checked.wait()
        if self._drain and self._provider_fault and not isinstance(self._provider_fault, ProviderRateLimited):
            raise self._provider_fault
        async with self.limited(), asyncio.TaskGroup() as batches:
            try:
                await self._claim_on(batches)
            except EmbedqError as error:
                self._fail(error)
        if self._drain and self._heartbeat.ordered and not self._failure:
            raise EmbedqError("not drained: an operator stopped the worker", "lift a stop: embedq-tui start")
        if self._failure:
            raise self._failure

    @asynccontextmanager
    async def limited(self) -> AsyncIterator[None]:
        """Cut the block off, whatever it waits for, once the grace period of a stop is over."""
        limit = self._limit = asyncio.timeout_at(self._ends_at)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            self._log.warning("the grace period is over", in_hand=len(self._pipeline.in_hand))
        finally:
            self._limit = None

    def _fail(self, error: EmbedqError) -> None:
        """Stop because of an error that is not the fault of a task; `run` raises it."""
        self._failure = error
        if not self.ending.is_set():
            self.stop(error.message)

    # -- claiming

    async def _claim_on(self, batches: asyncio.TaskGroup) -> None:
        while await self._free_slot():
            self._wake.clear()
            # While all workers are held back, a claim would find nothing; not so while it is this one alone.
            tasks = [] if self._heartbeat.block else await self._claim()
            if tasks:
                self._busy += 1
                batches.create_task(self._work(tasks))
                self._notifier.changed()  # after starting the batch, which comes first
            elif self._drain and await self._drained():
                return
            else:
                await self._idle()

    async def _free_slot(self) -> bool:
        """Wait until another batch may be claimed; False if told to stop."""
        while self._busy >= self._heartbeat.concurrency and not self.ending.is_set():
            self._freed.clear()
            await self._freed.wait()
        return not self.ending.is_set()

    async def _claim(self) -> list[ClaimedTask]:
        began = perf_counter()
        try:
            if self._claiming_failed:  # the claim may have committed although its response was lost
                await self._pipeline.disown()
            tasks = await self._pipeline.claim(self._settings.batch_size)
        except EXPECTED_ERRORS as error:
            if not self._claiming_failed:
                self._log.warning("claiming failed", error=explained(error, self._settings).message)
            self._claiming_failed = True
            self._pipeline.refusals.refused(self, error)
            if not is_sick(error):  # such as of a schema that was migrated for a later release
                await self._check_ground()
            await first_of(self.ending, timeout_s=DATABASE_PAUSE_S)
            return []
        self._claiming_failed = False
        self._pipeline.refusals.ended(self)
        self._metrics.claim(perf_counter() - began, len(tasks))
        return tasks

    async def _check_ground(self) -> None:
        self._ground_at = monotonic()
        with suppress(*EXPECTED_ERRORS):
            await self._pipeline.require_same_ground()

    async def _work(self, tasks: Sequence[ClaimedTask]) -> None:
        began = perf_counter()
        try:
            try:
                report = await self._pipeline.run(tasks)
            except EmbedqError as error:  # what is held will be returned
                self._fail(error)
                return
            except Exception as error:
                # The boundary of a batch: whatever went wrong in it, the worker continues with others.
                self._log.error("a batch failed", exc_info=error, tasks=len(tasks))
                report = await self._pipeline.fail(tasks, error)
            self._account(report, perf_counter() - began)
        finally:
            self._busy -= 1
            self._freed.set()
            self._wake.set()

    def _account(self, report: BatchReport, seconds: float) -> None:
        self._metrics.batch(report, seconds)
        self._heartbeat.count(report.succeeded, report.failed)
        self._notifier.changed()
        worth_telling = report.errors or report.outcomes["lost"]
        tell = self._log.warning if worth_telling else self._log.debug
        tell("batch done", seconds=round(seconds, 3), **report.outcomes, **_sample(report.errors))

    # -- nothing to claim

    async def _idle(self) -> None:
        """Wait for a notification, the due time of the next task, or the poll interval.

        Raises:
            EmbedqError: The worker can no longer work here, see `Pipeline.require_same_ground`.
        """
        if self._signalled:
            self._signalled = False
            await first_of(self._wake, timeout_s=RESCAN_S)
            return
        poll_s = self._settings.worker_interval_ms / 1000
        if monotonic() - self._ground_at > GROUND_POLLS * poll_s:
            await self._check_ground()
        try:
            look = await fleet.outlook(self._pool, self._scope, within_s=0)
        except EXPECTED_ERRORS:
            look = fleet.Outlook(False, DATABASE_POLL_S)
        if self._claiming_failed:
            poll_s = min(poll_s, DATABASE_POLL_S)
        if not self._heartbeat.block:
            # A task due now became due after the claim, or cannot be claimed: claim again to find out.
            self._looked_again = look.more and not self._looked_again
            if self._looked_again:
                return
            if look.next_s is not None:
                poll_s = min(poll_s, look.next_s + 0.005)
        await first_of(self._wake, timeout_s=poll_s)

    async def _drained(self) -> bool:
        """Whether a drain is finished.

        Raises:
            EmbedqError: It cannot finish.
        """
        if self._pipeline.in_hand:
            return False
        try:
            if await self._pipeline.disown():
                return False
            left = await fleet.outlook(self._pool, self._scope, within_s=DRAIN_HORIZON_S)
            if not left.more:
                return True
            held = await breaker.look(self._pool, self._scope.provider)
            await self._heartbeat.beat()
        except EXPECTED_ERRORS:
            return False
        if self._heartbeat.block:
            raise EmbedqError(
                f"not drained: the workers are {self._heartbeat.block}",
                "let them go on: embedq-tui start, or embedq-tui resume",
            )
        if held is not None and held.state == "open":
            raise Unreachable(f"not drained: {held.reason}", held.advice)
        if held is None and not self._told_waiting:  # for half an hour, if who holds an article is gone
            self._told_waiting = True
            self._log.info("waiting for tasks that are due within a minute, or whose article others hold")
        return False


def _sample(errors: Mapping[str, int]) -> dict[str, object]:
    """The most frequent error of a batch, for its log line."""
    return {"error": max(errors, key=lambda text: errors[text])} if errors else {}
