"""Assemble a worker from the settings, run it, and tear it down."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING
from uuid import uuid4

from embedq_worker.backoff import Backoff
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Pool, open_pool
from embedq_worker.database.failures import EXPECTED_ERRORS, explained
from embedq_worker.database.kept import KeptConnection, kept_connection
from embedq_worker.database.line_watch import LineWatch
from embedq_worker.insights.doctor import require_ground
from embedq_worker.process.host import this_host
from embedq_worker.providers.base import Provider
from embedq_worker.providers.factory import open_provider
from embedq_worker.queue.claims import Scope
from embedq_worker.queue.words import key_of
from embedq_worker.service.embedder import Embedder
from embedq_worker.service.lifeline import on_lifeline
from embedq_worker.service.logs import Log
from embedq_worker.service.parts import Parts
from embedq_worker.service.pipeline import Pipeline, PipelineSettings
from embedq_worker.service.refusals import Refusals
from embedq_worker.service.service import Service
from embedq_worker.service.service_manager import ServiceManager, informed
from embedq_worker.service.watched_provider import WatchedProvider

if TYPE_CHECKING:
    from embedq_worker.service.exposition import WorkerTelemetry

_CHORES_CONNECTIONS = 4
"""For claims, heartbeat, maintenance and notifications, in addition to one per batch in flight."""


_ROOM = 16
"""Batches that the pool has room for even if the concurrency is lower, because an operator may raise it.
Connections are opened only when needed."""

_GARBAGE = 50_000
"""New objects between two garbage collections; a batch creates thousands."""


def spare_collector() -> None:
    """Before a worker runs, exempt everything loaded from garbage collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE, 20, 20)


async def run_worker(
    settings: Settings,
    log: Log,
    *,
    drain: bool = False,
    priorities: tuple[str, ...] | None = None,
    folders: tuple[str, ...] | None = None,
    lifeline: socket.socket | None = None,
    provider: Provider | None = None,
) -> None:
    """Run one worker in this process until it is told to stop, or until the queue is drained.

    Args:
        settings: As loaded.
        log: Log of the worker.
        drain: End when the queue is empty.
        priorities: Priorities to process; None for all.
        folders: Folders to process, with their subfolders; None for all.
        lifeline: To the program that started this process, see `lifeline`; None without one.
        provider: Provider to use, closed at the end; None for the one in the settings.

    Raises:
        EmbedqError: Says what keeps the worker from working, and what to do about it.
    """
    beat_now = asyncio.Event()
    watched = WatchedProvider(provider or open_provider(_inside_deadline(settings)), beat_now.set)
    try:
        size = settings.db_pool_size or max(settings.concurrency, _ROOM) + _CHORES_CONNECTIONS
        watch = LineWatch(
            settings,
            lambda ended: log.warning("replacing connections that were silently dead", connections=ended),
            lambda blocker: log.warning("statements wait for a lock", holder=blocker.words),
            beat_now.set,
        )
        async with (
            open_pool(settings, "embedq-worker", size=size, min_size=min(2, size), opened=watch.add) as pool,
            kept_connection(pool) as claimer,
        ):
            scope = Scope(uuid4(), key_of(watched), watched.model, priorities, folders)
            parts = await _parts(settings, pool, claimer, watched, scope, log, watch, beat_now)
            service = Service(parts, drain=drain)
            line = (
                nullcontext() if lifeline is None else on_lifeline(lifeline, scope.worker, service.stop, log)
            )
            manager = informed(
                ServiceManager.named_in(os.environ), service, grace_s=settings.shutdown_grace_ms / 1000
            )
            with _signals(service):
                async with watch.looking(), line, manager, _metrics_port(parts, service):
                    await service.run()
    except EXPECTED_ERRORS as error:
        raise explained(error, settings) from error
    finally:
        await watched.aclose()


def _telemetry(settings: Settings, model: str, pipeline: Pipeline) -> WorkerTelemetry | None:
    """Metrics of this worker for the metrics port; None without a port, to avoid loading and counting."""
    if settings.metrics_port is None:
        return None
    from embedq_worker.service.exposition import WorkerTelemetry

    return WorkerTelemetry(model, settings.concurrency, lambda: len(pipeline.in_hand))


def _metrics_port(parts: Parts, service: Service) -> AbstractAsyncContextManager[None]:
    if parts.telemetry is None:
        return nullcontext()
    from embedq_worker.service.http_port import Answers, StateReader, served

    answers = Answers(parts.telemetry, StateReader(parts.settings), service.ending.is_set, parts.log)
    return served(parts.settings, answers)


def _inside_deadline(settings: Settings) -> Settings:
    """Limit the request timeout so that requests end before their batch does."""
    longest_ms = min(settings.request_timeout_ms, settings.longest_request_ms)
    return settings.model_copy(update={"request_timeout_ms": longest_ms})


async def _parts(
    settings: Settings,
    pool: Pool,
    claimer: KeptConnection,
    provider: WatchedProvider,
    scope: Scope,
    log: Log,
    watch: LineWatch,
    beat_now: asyncio.Event,
) -> Parts:
    async with pool.acquire() as connection:
        storage = await require_ground(connection)
    storage.require(provider.dimensions)
    backoff = Backoff(settings.retry_backoff_base_ms / 1000, settings.retry_backoff_max_ms / 1000)
    pipeline = Pipeline(
        pool,
        claimer,
        scope,
        storage,
        Embedder(provider, concurrency=settings.concurrency),
        Refusals(watch, beat_now.set),
        PipelineSettings(
            settings.chunk_size,
            settings.chunk_overlap,
            deadline_s=settings.worker_timeout_ms / 1000,
            patience_s=settings.max_processing_time_ms / 1000 / 4,
            backoff=backoff,
        ),
    )
    telemetry = _telemetry(settings, provider.model, pipeline)
    return Parts(settings, pool, provider, pipeline, scope, this_host(), log, telemetry, beat_now)


@contextmanager
def _signals(service: Service) -> Iterator[None]:
    """Handle SIGTERM, SIGINT and, unless started with nohup, SIGHUP (the terminal was closed).

    The first one stops the worker gracefully, the second at once. At the end of the block they are ignored.
    """
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, service.stop, number.name)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # a late one must not change the exit status
