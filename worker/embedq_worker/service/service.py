"""The worker as a service: claims while slots are free, beats, listens, does chores, and ends gracefully."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from embedq_worker.database.connections import EXPECTED_ERRORS, Pool, explained, persist
from embedq_worker.database.listener import Heard, Hearing, Listener, log_hearing
from embedq_worker.database.notifier import Notifier
from embedq_worker.errors import EmbedqError, Unreachable
from embedq_worker.host import HostIdentity
from embedq_worker.logs import Log
from embedq_worker.providers.base import Provider, ProviderError, ProviderRateLimited
from embedq_worker.queue import breaker, fleet
from embedq_worker.queue.claims import ClaimedTask, Scope
from embedq_worker.service.heartbeat import Heartbeat
from embedq_worker.service.maintenance import Maintenance, rescue_all
from embedq_worker.service.metrics import Recorder, WorkerMetrics
from embedq_worker.service.pipeline import BatchReport, Pipeline
from embedq_worker.service.provider_watch import ProviderWatch
from embedq_worker.settings import Settings
from embedq_worker.waits import first_of

RESCAN_S = 0.05
"""A signal speaks for all that commit at the same moment: look again for those that came a little later."""

DRAIN_HORIZON_S = 60.0
"""A drain waits for what becomes due within this time (retries), and leaves the rest."""

RELEASE_WITHIN_S = 5.0
DATABASE_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service is made of; each part works alone and knows nothing of the service.

    Attributes:
        settings: Of this worker.
        pool: To the migrated database.
        provider: For probes; the pipeline has its own way to it.
        pipeline: Claims and settles.
        scope: Who claims, and what.
        host: Where this is.
        log: For what an operator should know.
        recorder: Told of each batch and claim.
    """

    settings: Settings
    pool: Pool
    provider: Provider
    pipeline: Pipeline
    scope: Scope
    host: HostIdentity
    log: Log
    recorder: Recorder | None = None


class Service:
    """One worker.

    Args:
        parts: What it works with.
        drain: End when the queue is empty.
        shown_settings: For the list of workers; no secrets.

    Attributes:
        entered: Set when it is known to the others and about to claim.
        ending: Set when it was asked to end.
    """

    def __init__(self, parts: Parts, *, drain: bool, shown_settings: Mapping[str, object]) -> None:
        self._parts = parts
        self._drain = drain
        self._shown_settings = shown_settings
        self._settings = parts.settings
        self._pool = parts.pool
        self._pipeline = parts.pipeline
        self._log = parts.log
        self._concurrency = parts.settings.concurrency
        self._busy = 0
        self._freed = asyncio.Event()
        self._wake = asyncio.Event()
        self._signalled = False
        self._looked_again = False
        self.entered = asyncio.Event()
        self.ending = asyncio.Event()
        self._forced = asyncio.Event()
        self._ready = asyncio.Event()
        self._fault: ProviderError | None = None
        self._failure: EmbedqError | None = None
        self._stop_reason = ""
        self._claiming_failed = False
        self._succeeded = self._failed = 0
        self._metrics = WorkerMetrics(parts.scope.worker, self._concurrency, parts.recorder)
        self._notifier = Notifier(parts.pool)
        self._log_hearing = log_hearing(parts.log, parts.settings.worker_interval_ms)
        self._provider = ProviderWatch(
            parts.pool,
            parts.provider,
            parts.scope.provider,
            on_checked=self._provider_checked,
            on_change=self._provider_changed,
            log=parts.log,
        )
        self._heartbeat = Heartbeat(
            parts.pool,
            parts.scope,
            parts.host,
            shown_settings,
            every_s=parts.settings.beat_every_s,
            poll_s=parts.settings.worker_interval_ms / 1000,
            in_hand=lambda: len(parts.pipeline.in_hand),
            on_order=self.stop,
            on_resize=self._resize,
            concurrency=self._concurrency,
            log=parts.log,
        )

    def stop(self, reason: str, *, force: bool = False) -> None:
        """Ask the service to end: what is in flight is finished within the grace time; at once with `force`.

        A second call forces as well.
        """
        if self.ending.is_set():
            force = True
        self._stop_reason = self._stop_reason or reason
        self.ending.set()
        if force:
            self._forced.set()
        for waited_for in (self._ready, self._wake, self._freed):
            waited_for.set()

    @property
    def status(self) -> str:
        """What it does, in a line."""
        held = f", {len(self._pipeline.in_hand)} tasks in hand" if self._pipeline.in_hand else ""
        return ("ending" if self.ending.is_set() else self._heartbeat.note or "serving the queue") + held

    async def run(self) -> None:
        """Work until asked to stop, or until the queue is drained.

        Raises:
            EmbedqError: A drain cannot go on: stopped by an operator, or the provider does not work. Or the
                database takes no embeddings any more.
            One of `connections.EXPECTED_ERRORS`: the database failed while the worker was entering.
        """
        await self._enter()
        failure: EmbedqError | None = None
        reason = "crashed"
        try:
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(run) for run in self._background()]
                try:
                    await self._begin()
                    await self._dispatch()
                except EmbedqError as error:
                    failure = error
                finally:
                    for task in background:
                        task.cancel()
            reason = self._stop_reason or (failure.message if failure else "drained")
        finally:
            await self._leave(reason)
        if failure:
            raise failure

    def _background(self) -> Sequence[Coroutine[None, None, None]]:
        worker = self._parts.scope.worker
        listener = Listener(self._settings, self._signal, self._heard)
        maintenance = Maintenance(
            self._pool, self._settings, worker, lambda: self._pipeline.in_hand, self._metrics, self._log
        )
        return [
            self._heartbeat.run(),
            listener.run(),
            maintenance.run(),
            self._notifier.run(),
            self._provider.run(),
        ]

    # -- begin and end

    async def _enter(self) -> None:
        parts = self._parts
        await fleet.bury_local_dead(self._pool, parts.host)
        await fleet.enter(self._pool, parts.scope, parts.host, self._shown_settings)
        self._log.info("worker started", worker=str(parts.scope.worker), **self._shown_settings)
        if self._settings.stuck_cleanup_enabled:
            await rescue_all(self._pool, self._settings, self._log)
        await self._heartbeat.beat()
        self.entered.set()

    async def _begin(self) -> None:
        """Wait until the provider was checked; a drain cannot do without it.

        Raises:
            ProviderError: It does not work.
        """
        await self._ready.wait()
        if self._drain and self._fault and not isinstance(self._fault, ProviderRateLimited):
            raise self._fault

    async def _leave(self, reason: str) -> None:
        """Give back what is left and sign off; where the database does not answer, others will rescue it."""
        try:
            async with asyncio.timeout(RELEASE_WITHIN_S):
                released = await persist(lambda: self._pipeline.release(f"worker ended: {reason}"))
                released += await persist(self._pipeline.disown)
                await persist(self._heartbeat.beat)
                await persist(lambda: self._metrics.write(self._pool))
                await persist(lambda: fleet.leave(self._pool, self._parts.scope.worker, reason))
                self._log.info(
                    "worker stopped",
                    reason=reason,
                    succeeded=self._succeeded,
                    failed=self._failed,
                    released=released,
                )
        except EXPECTED_ERRORS as error:
            self._log.error("could not sign off", error=explained(error, self._settings).message)

    # -- claiming

    async def _dispatch(self) -> None:
        """Claim while a slot is free and nobody said stop; then see the batches in flight to their end."""
        try:
            async with asyncio.timeout(None) as grace, asyncio.TaskGroup() as batches:
                try:
                    await self._claim_on(batches)
                except EmbedqError as error:
                    self._failure = error
                if self.ending.is_set():
                    await self._see_out(grace)
        except TimeoutError:
            self._log.warning("grace time is over", in_hand=len(self._pipeline.in_hand))
        if self._drain and self._heartbeat.ordered and not self._failure:
            raise EmbedqError("not drained: an operator stopped it", "`embedq-tui start` lifts a stop")
        if self._failure:
            raise self._failure

    async def _see_out(self, grace: asyncio.Timeout) -> None:
        """Give the batches in flight their grace time; none when forced."""
        self._log.info("stopping", reason=self._stop_reason, in_hand=len(self._pipeline.in_hand))
        self._heartbeat.stopping()
        loop = asyncio.get_running_loop()
        grace.reschedule(loop.time() + self._settings.shutdown_grace_ms / 1000)
        while self._busy and not self._forced.is_set():
            self._freed.clear()
            await self._freed.wait()
        if self._forced.is_set():
            grace.reschedule(loop.time())

    async def _claim_on(self, batches: asyncio.TaskGroup) -> None:
        while await self._free_slot():
            self._wake.clear()
            tasks = await self._claim()
            if tasks:
                self._busy += 1
                batches.create_task(self._work(tasks))
                self._notifier.changed()  # after the batch, which goes first
            elif self._drain and await self._drained():
                return
            else:
                await self._idle()

    async def _free_slot(self) -> bool:
        """Wait until another batch may be claimed; False when asked to stop."""
        while self._busy >= self._concurrency and not self.ending.is_set():
            self._freed.clear()
            await self._freed.wait()
        return not self.ending.is_set()

    async def _claim(self) -> list[ClaimedTask]:
        began = perf_counter()
        try:
            if self._claiming_failed:  # it may have been done, and only the answer was lost
                await self._pipeline.disown()
            tasks = await self._pipeline.claim(self._settings.batch_size)
        except EXPECTED_ERRORS as error:
            if not self._claiming_failed:
                self._log.warning("claiming failed", error=explained(error, self._settings).message)
            self._claiming_failed = True
            await first_of(self.ending, timeout_s=DATABASE_PAUSE_S)
            return []
        self._claiming_failed = False
        self._metrics.claim(perf_counter() - began, len(tasks))
        return tasks

    async def _work(self, tasks: Sequence[ClaimedTask]) -> None:
        began = perf_counter()
        try:
            try:
                report = await self._pipeline.run(tasks)
            except EmbedqError as error:  # no task's fault: what is in hand is given back
                self._failure = error
                if not self.ending.is_set():
                    self.stop(error.message)
                return
            except Exception as error:
                # The edge of a batch: whatever it ran into, the worker goes on with the others.
                self._log.error("a batch failed", exc_info=error, tasks=len(tasks))
                report = await self._pipeline.fail(tasks, error)
            self._account(report, perf_counter() - began)
        finally:
            self._busy -= 1
            self._freed.set()
            self._wake.set()

    def _account(self, report: BatchReport, seconds: float) -> None:
        self._metrics.batch(report, seconds)
        self._succeeded += report.succeeded
        self._failed += report.failed
        self._heartbeat.count(report.succeeded, report.failed)
        self._notifier.changed()
        level = "warning" if report.errors or report.outcomes["lost"] else "debug"
        getattr(self._log, level)(
            "batch done", seconds=round(seconds, 3), **report.outcomes, **_sample(report.errors)
        )

    async def _idle(self) -> None:
        """Wait for a signal, for the next task to become due, or for the time to poll."""
        if self._signalled:
            self._signalled = False
            await first_of(self._wake, timeout_s=RESCAN_S)
            return
        poll_s = self._settings.worker_interval_ms / 1000
        try:
            look = await self._outlook(within_s=0)
        except EXPECTED_ERRORS:
            look = fleet.Outlook(False, None)
        if not self._heartbeat.block:
            # What is due now became so after the claim, or cannot be claimed: the next claim tells which.
            self._looked_again = look.more and not self._looked_again
            if self._looked_again:
                return
            if look.next_s is not None:
                poll_s = min(poll_s, look.next_s + 0.005)
        await first_of(self._wake, timeout_s=poll_s)

    def _signal(self, payload: str) -> None:
        self._signalled = True
        self._wake.set()
        if payload in ("control", "resync"):
            self._heartbeat.hurry()
        if payload in ("provider", "resync"):
            self._provider.look()

    def _heard(self, heard: Heard) -> None:
        self._log_hearing(heard)
        self._heartbeat.signalled(heard.hearing is Hearing.LISTENING)

    def _provider_checked(self, fault: ProviderError | None) -> None:
        self._fault = fault
        self._ready.set()

    def _provider_changed(self, held: breaker.Held | None) -> None:
        self._heartbeat.provider(held)
        if held is None:
            self._wake.set()

    def _resize(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._pipeline.resize(concurrency)
        self._metrics.resize(concurrency)
        self._freed.set()

    async def _outlook(self, *, within_s: float) -> fleet.Outlook:
        scope = self._parts.scope
        return await fleet.outlook(self._pool, scope.priorities, scope.folders, within_s=within_s)

    # -- draining

    async def _drained(self) -> bool:
        """Whether a drain has come to its end.

        Raises:
            EmbedqError: It cannot come to its end.
        """
        if self._pipeline.in_hand:
            return False
        try:
            if await self._pipeline.disown():
                return False
            if not (await self._outlook(within_s=DRAIN_HORIZON_S)).more:
                return True
            held = await breaker.look(self._pool, self._parts.scope.provider)
            await self._heartbeat.beat()
        except EXPECTED_ERRORS:
            return False
        if self._heartbeat.block:
            raise EmbedqError(
                f"not drained: the workers are {self._heartbeat.block}",
                "`embedq-tui start` or `resume` lifts it",
            )
        if held is not None and held.state == "open":
            raise Unreachable(f"not drained: {held.reason}", held.advice)
        return False


def _sample(errors: Mapping[str, int]) -> dict[str, object]:
    """The most frequent error of a batch, for its log line."""
    return {"error": max(errors, key=lambda text: errors[text])} if errors else {}
