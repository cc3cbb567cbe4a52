"""What a worker is made of."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Pool
from embedq_worker.process.host import HostIdentity
from embedq_worker.queue.claims import Scope
from embedq_worker.service.logs import Log
from embedq_worker.service.pipeline import Pipeline
from embedq_worker.service.watched_provider import WatchedProvider

if TYPE_CHECKING:
    from embedq_worker.service.exposition import WorkerTelemetry


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service is made of; each part works alone and does not know the service.

    Attributes:
        settings: Settings of this worker.
        pool: To the migrated database.
        provider: For probes; the pipeline uses it through its embedder.
        pipeline: Claims and settles tasks.
        scope: Who claims, and what.
        host: Where the worker runs.
        log: Log of the worker.
        telemetry: Its metrics for the metrics port, if it has one.
        beat_now: Set when there is something that the heartbeat should report now.
    """

    settings: Settings
    pool: Pool
    provider: WatchedProvider
    pipeline: Pipeline
    scope: Scope
    host: HostIdentity
    log: Log
    telemetry: WorkerTelemetry | None
    beat_now: asyncio.Event

    @property
    def shown_settings(self) -> dict[str, object]:
        """The settings that the list of workers shows; without secrets."""
        shown: dict[str, object] = {
            "model": self.provider.model,
            "endpoint": self.provider.endpoint,
            "concurrency": self.settings.concurrency,
            "batch_size": self.settings.batch_size,
        }
        if self.scope.priorities is not None:
            shown["priorities"] = list(self.scope.priorities)
        if self.scope.folders is not None:
            shown["folders"] = list(self.scope.folders)
        return shown
