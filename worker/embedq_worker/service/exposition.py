"""Prometheus metrics: the queue, from the database, and what this worker has done.

Every label has few values: statuses, priorities, outcomes, kinds of failure, codes of `health`, and the
providers in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from embedq_worker import __version__
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.health import Health, health_and_overview
from embedq_worker.insights.issues import Code
from embedq_worker.insights.overview import Liveness, Overview
from embedq_worker.schema.task_values import STATUSES
from embedq_worker.service.pipeline import BatchReport

_PROVIDERS = 20
"""Maximum number exposed, as each is a time series and the keys come from the database."""
_PROVIDER_STATES = ("closed", "cooling", "open")

_OUTCOMES = ("stored", "skipped", "removed", "gone", "coalesced", "changed", "requeued", "failed", "lost")
_KINDS = ("unavailable", "rate_limited", "misconfigured", "input_rejected", "other")

_TASK_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_REQUEST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_CLAIM_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """State of the database at a moment.

    Attributes:
        seen: None if even the public tables are missing.
        health: Evaluated with the thresholds of the settings.
    """

    seen: Overview | None
    health: Health

    @property
    def schema_current(self) -> bool:
        """Whether the schema matches this program."""
        return all(issue.code != Code.SCHEMA for issue in self.health.issues)


async def read_state(connection: Connection, settings: Settings) -> DatabaseState:
    """Read the state to expose.

    Args:
        connection: To the database, migrated or not.
        settings: Thresholds of `health`.
    """
    verdict, seen = await health_and_overview(connection, settings)
    return DatabaseState(seen, verdict)


def queue_families(state: DatabaseState | None) -> Iterator[Metric]:
    """Metrics of the queue.

    Args:
        state: None if the database could not be reached.
    """
    yield _gauge("embedq_database_up", "Whether the database answered.", state is not None)
    if state is None:
        return
    yield _gauge("embedq_schema_current", "Whether the schema matches this program.", state.schema_current)
    issues = {issue.code for issue in state.health.issues}
    family = GaugeMetricFamily(
        "embedq_health_issue", "Issues reported by embedq-tui health.", labels=["code"]
    )
    for code in Code:
        family.add_metric([code.value], code in issues)
    yield family
    if state.seen is not None:
        yield from _overview_families(state.seen)


def _overview_families(seen: Overview) -> Iterator[Metric]:
    tasks = GaugeMetricFamily("embedq_tasks", "Number of tasks.", labels=["status", "priority"])
    for priority, counts in seen.queue.by_priority.items():
        for status in STATUSES:
            tasks.add_metric([status, priority], getattr(counts, status))
    yield tasks
    queue = seen.queue
    for name, text, since in (
        ("embedq_oldest_due_age_seconds", "How long the oldest due task has waited.", queue.oldest_due_at),
        ("embedq_oldest_pending_age_seconds", "Age of the oldest pending task.", queue.oldest_pending_at),
    ):
        yield _gauge(name, text, max((seen.at - since).total_seconds(), 0.0) if since else 0.0)
    if queue.last_completed_at:
        text = "When a task was last completed."
        yield _gauge("embedq_last_completed_timestamp_seconds", text, queue.last_completed_at.timestamp())
    workers = GaugeMetricFamily(
        "embedq_workers", "Workers that have not deregistered, by heartbeat.", labels=["liveness"]
    )
    for liveness in (Liveness.ALIVE, Liveness.SILENT):
        workers.add_metric([liveness.value], sum(row.liveness is liveness for row in seen.workers))
    yield workers
    control = seen.control
    yield _gauge("embedq_workers_stopped", "An operator stopped all workers.", control.stopped_at is not None)
    yield _gauge("embedq_workers_paused", "An operator paused all workers.", control.paused_at is not None)
    providers = GaugeMetricFamily(
        "embedq_provider_state", "Circuit breaker: 1 for its state.", labels=["provider", "state"]
    )
    for provider in seen.providers[:_PROVIDERS]:
        for state in _PROVIDER_STATES:
            providers.add_metric([provider.key, state], provider.state == state)
    yield providers


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


class _Families(Collector):
    """A collector of given metric families."""

    def __init__(self, families: Iterator[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def exposition(state: DatabaseState | None) -> str:
    """Metrics of the queue in the text format.

    Args:
        state: None if the database could not be reached.
    """
    return generate_latest(_Families(queue_families(state))).decode()


class WorkerTelemetry:
    """Counters and histograms of one worker, in a registry of their own.

    Args:
        model: Its embedding model.
        slots: Concurrent batches.
        in_hand: Returns how many tasks it holds.

    Attributes:
        registry: Registry for the exposition.
    """

    def __init__(self, model: str, slots: int, in_hand: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info("embedq_worker", "This worker.", registry=self.registry).info(
            {"version": __version__, "model": model}
        )
        self._outcomes = Counter(
            "embedq_worker_tasks", "Tasks processed, by outcome.", ["outcome"], registry=self.registry
        )
        self._errors = Counter(
            "embedq_provider_errors", "Failed requests, by kind.", ["kind"], registry=self.registry
        )
        self._inputs = Counter(
            "embedq_embedding_inputs", "Texts sent to the provider.", registry=self.registry
        )
        self._claimed = Counter("embedq_claimed_tasks", "Tasks claimed.", registry=self.registry)
        self._busy = Counter(
            "embedq_worker_busy_seconds",
            "Time that slots were busy, summed over slots.",
            registry=self.registry,
        )
        self._tasks = self._histogram(
            "embedq_task_duration_seconds", "Time from claim to completion or failure.", _TASK_BUCKETS
        )
        self._requests = self._histogram(
            "embedq_embedding_request_duration_seconds", "Duration of a provider request.", _REQUEST_BUCKETS
        )
        self._claims = self._histogram(
            "embedq_claim_duration_seconds", "Duration of a claim.", _CLAIM_BUCKETS
        )
        held = Gauge("embedq_worker_tasks_in_hand", "Tasks that this worker holds.", registry=self.registry)
        held.set_function(in_hand)
        self._slots = Gauge("embedq_worker_slots", "Concurrent batches.", registry=self.registry)
        self._slots.set(slots)
        # All series exist from the start, so that the first event of a kind shows as an increase.
        for outcome in _OUTCOMES:
            self._outcomes.labels(outcome)
        for kind in _KINDS:
            self._errors.labels(kind)

    def batch(self, report: BatchReport, seconds: float) -> None:
        """Add a batch and the seconds it kept a slot busy."""
        self._busy.inc(seconds)
        for outcome, number in report.outcomes.items():
            self._outcomes.labels(outcome).inc(number)
        for _ in range(report.succeeded - report.outcomes["coalesced"] + report.failed):
            self._tasks.observe(seconds)
        for request in report.requests:
            self._requests.observe(request.seconds)
            self._inputs.inc(request.inputs)
            if request.error is not None:
                self._errors.labels(request.error).inc()

    def claim(self, seconds: float, tasks: int) -> None:
        """Add a claim and the number of tasks it returned."""
        self._claims.observe(seconds)
        self._claimed.inc(tasks)

    def resize(self, slots: int) -> None:
        """Change the number of concurrent batches."""
        self._slots.set(slots)

    def families(self, state: DatabaseState | None) -> Collector:
        """All metrics: those of the queue, then those of this worker.

        Args:
            state: None if the database could not be reached.
        """

        def both() -> Iterator[Metric]:
            yield from queue_families(state)
            for family in self.registry.collect():
                # Without _created: in the text format, each would be a time series of its own.
                family.samples = [one for one in family.samples if not one.name.endswith("_created")]
                yield family

        return _Families(both())

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self.registry)
