"""The questions of the first screen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from embedq_tui.live.questions import CONTROL, PROVIDER, TASKS, WORKERS, Question
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.audit import AuditFilter, AuditPage, audit_page
from embedq_worker.insights.failures import Failures, failures
from embedq_worker.insights.metrics import Metrics, Span, metrics

ROWS = 60
GROUPS = 5
LONGEST = 500
"""Characters to fetch of each audit text: a line shows no more."""


@dataclass(frozen=True)
class TopFailures(Question[Failures]):
    """The largest failure groups."""

    pause_s = 2.0
    every_s = 30.0

    async def ask(self, connection: Connection, settings: Settings) -> Failures:
        """Ask it once."""
        return await failures(connection, limit=GROUPS, longest=1_000)


@dataclass(frozen=True)
class LastRows(Question[AuditPage]):
    """The newest rows of the audit log."""

    hears = frozenset({TASKS, WORKERS, CONTROL, PROVIDER})

    async def ask(self, connection: Connection, settings: Settings) -> AuditPage:
        """Ask it once."""
        return await audit_page(connection, AuditFilter(level="info"), limit=ROWS, longest=LONGEST)


@dataclass(frozen=True)
class LastHour(Question[Metrics]):
    """What ended in the last hour, by minute."""

    hears = frozenset()
    pause_s = 10.0
    every_s = 20.0

    async def ask(self, connection: Connection, settings: Settings) -> Metrics:
        """Ask it once."""
        return await metrics(connection, by=Span.MINUTE, since=timedelta(hours=1))
