"""The worker as a service: registers, runs its loops concurrently, stops gracefully and deregisters."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress

from embedq_worker.database.failures import EXPECTED_ERRORS, explained, persist
from embedq_worker.database.listener import Heard, Hearing, Listener
from embedq_worker.database.notifier import Notifier
from embedq_worker.errors import EmbedqError
from embedq_worker.queue import breaker, fleet
from embedq_worker.service.dispatch import Dispatcher
from embedq_worker.service.heartbeat import Heartbeat
from embedq_worker.service.maintenance import Maintenance, rescue_all
from embedq_worker.service.metrics import WorkerMetrics
from embedq_worker.service.parts import Parts
from embedq_worker.service.provider_watch import ProviderWatch

SIGN_OFF_WITHIN_S = 5.0


class Service:
    """One worker.

    Args:
        parts: What it is made of.
        drain: End when the queue is empty.

    Attributes:
        entered: Set when it is registered and about to claim.
    """

    def __init__(self, parts: Parts, *, drain: bool) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._pool = parts.pool
        self._pipeline = parts.pipeline
        self._log = parts.log
        self.entered = asyncio.Event()
        self._metrics = WorkerMetrics(parts.scope.worker, parts.settings.concurrency, parts.telemetry)
        self._notifier = Notifier(parts.pool)
        self._deaf = False
        self._heartbeat = Heartbeat(parts)
        self._dispatcher = Dispatcher(parts, self._heartbeat, self._notifier, self._metrics, drain=drain)
        self._provider = ProviderWatch(
            parts, on_checked=self._dispatcher.provider_checked, on_change=self._provider_changed
        )

    def stop(self, reason: str, *, force: bool = False) -> None:
        """Stop the service, see `Dispatcher.stop`."""
        self._dispatcher.stop(reason, force=force)

    @property
    def ending(self) -> asyncio.Event:
        """Set once it was told to stop."""
        return self._dispatcher.ending

    @property
    def status(self) -> str:
        """What it is doing, in one line."""
        held = f", {len(self._pipeline.in_hand)} tasks in progress" if self._pipeline.in_hand else ""
        return ("stopping" if self.ending.is_set() else self._heartbeat.note or "processing the queue") + held

    async def run(self) -> None:
        """Work until told to stop, or until the queue is drained.

        Raises:
            EmbedqError: A drain cannot continue because an operator stopped it or the provider does not work;
                or the database no longer accepts embeddings.
            One of `failures.EXPECTED_ERRORS`: the database failed while the worker was registering.
        """
        async with self._dispatcher.limited():
            await self._enter()
        failure: EmbedqError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(run) for run in self._background()]
                try:
                    await self._dispatcher.run()
                except EmbedqError as error:
                    failure = error
                finally:
                    for task in background:
                        task.cancel()
        except Exception:
            await self._die()
            raise
        except BaseException:
            await self._leave("cancelled")
            raise
        await self._leave(self._dispatcher.stop_reason or (failure.message if failure else "drained"))
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
            self._dispatcher.obey(),
            listener.run(),
            maintenance.run(),
            self._notifier.run(),
            self._provider.run(),
        ]

    # -- begin and end

    async def _enter(self) -> None:
        parts = self._parts
        await fleet.declare_local_dead(self._pool, parts.host)
        await fleet.enter(self._pool, parts.scope, parts.host, parts.shown_settings)
        self._log.info("worker started", worker=str(parts.scope.worker), **parts.shown_settings)
        if self._settings.stuck_cleanup_enabled:
            await rescue_all(self._pool, self._settings, self._log)
        await self._heartbeat.beat()
        self.entered.set()

    async def _leave(self, reason: str) -> None:
        """Return what is left and deregister; if the database does not answer, other workers take it back."""
        try:
            async with asyncio.timeout(SIGN_OFF_WITHIN_S):
                released = await persist(lambda: self._pipeline.release(f"worker ended: {reason}"))
                released += await persist(self._pipeline.disown)
                await persist(self._heartbeat.beat)
                await persist(lambda: self._metrics.write(self._pool))
                await persist(lambda: fleet.leave(self._pool, self._parts.scope.worker, reason))
                self._log.info(
                    "worker stopped",
                    reason=reason,
                    succeeded=self._heartbeat.succeeded,
                    failed=self._heartbeat.failed,
                    released=released,
                )
        except EXPECTED_ERRORS as error:
            self._log.error("could not deregister", error=explained(error, self._settings).message)

    async def _die(self) -> None:
        """End like a worker that was killed: a task in hand may be to blame, so they are to be isolated."""
        with suppress(*EXPECTED_ERRORS):
            async with asyncio.timeout(SIGN_OFF_WITHIN_S):
                await persist(lambda: fleet.declare_dead(self._pool, [self._parts.scope.worker], "crashed"))

    # -- messages between the loops

    def _signal(self, payload: str) -> None:
        self._dispatcher.signalled()
        if payload in ("control", "resync"):
            self._heartbeat.hurry()
        if payload in ("provider", "resync"):
            self._provider.look()

    def _heard(self, heard: Heard) -> None:
        match heard.hearing:
            case Hearing.LISTENING if self._deaf:
                self._log.info("listening again")
            case Hearing.LOST:
                self._log.warning(
                    "the listening connection was lost", error=heard.reason or "a test notification was lost"
                )
            case Hearing.DEAF:
                cause = heard.reason or "PgBouncer in transaction mode?"
                self._log.warning(
                    f"LISTEN does not work over this connection ({cause})",
                    advice="the worker polls instead; a direct connection would wake it in milliseconds",
                    poll_ms=self._settings.worker_interval_ms,
                )
        self._deaf = heard.hearing is not Hearing.LISTENING
        self._heartbeat.listening(not self._deaf)

    def _provider_changed(self, held: breaker.Held | None) -> None:
        self._heartbeat.provider(held)
        if held is None:
            self._dispatcher.wake()
