"""What a worker is made of."""

from __future__ import annotations

from dataclasses import dataclass

from embedq_worker.database.connections import Pool
from embedq_worker.host import HostIdentity
from embedq_worker.logs import Log
from embedq_worker.providers.base import Provider
from embedq_worker.queue.claims import Scope
from embedq_worker.service.metrics import Recorder
from embedq_worker.service.pipeline import Pipeline
from embedq_worker.settings import Settings


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
