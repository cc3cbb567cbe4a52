"""Everything at a glance: counts, rates, workers, provider, failures, audit log; plots if they fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from embedq_tui.live.questions import Answer, Question
from embedq_tui.rendering.lines import (
    audit_text,
    counts_line,
    dead_lines,
    group_line,
    labelled,
    pace_line,
    provider_line,
    state_of,
    waiting,
    worker_lines,
)
from embedq_tui.rendering.metric_figures import when
from embedq_tui.rendering.metric_plots import LATENCY, THROUGHPUT
from embedq_tui.rendering.styles import QUIET
from embedq_tui.rendering.words import ago
from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.screens.overview.questions import LastHour, LastRows, TopFailures
from embedq_tui.screens.workers.questions import Dead, Deaths
from embedq_tui.widgets.backdrop import Backdrop
from embedq_tui.widgets.lines import Lines
from embedq_tui.widgets.plot import Plot
from embedq_tui.widgets.sparkline import sparkline
from embedq_worker.insights.audit import AuditPage
from embedq_worker.insights.failures import Failures
from embedq_worker.insights.metrics import Metrics
from embedq_worker.insights.overview import Liveness, Overview

DEAD = 3

SPARK, LEAST_SPARK = 24, 6
"""Width of the sparkline in cells, and the minimum below which it is unreadable."""


class _Row(Horizontal, Backdrop):
    """Widgets side by side."""


class _Column(Vertical, Backdrop):
    """Widgets one below the other."""


class OverviewScreen(ConsoleScreen):
    """The first screen."""

    MODE = "overview"

    def __init__(self) -> None:
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
        self.VERTICAL_BREAKPOINTS = [(0, "-low"), (34, "-high")]
        self._failures: Failures | None = None
        self._rows: AuditPage | None = None
        self._dead: Dead = ()

    def body(self) -> ComposeResult:
        """Figures, plots, lists."""
        yield Lines(id="figures")
        with _Row(id="plots"):
            for picture in (THROUGHPUT, LATENCY):
                yield Plot(picture.title, id=picture.name)
        with _Column(id="lists"):
            yield Lines("Workers, by their last heartbeat", id="workers")
            yield Lines("Failures", id="failures")
        yield Lines("Audit", from_end=True, id="audit")

    def questions(self) -> Iterable[Question[Any]]:
        """Ask for plot data only if plots fit."""
        yield TopFailures()
        yield LastRows()
        yield Deaths()
        if self.has_class("-high"):
            yield LastHour()

    def on_resize(self) -> None:
        """Plots may fit now, or no longer."""
        self.ask_again()

    def answered(self, answer: Answer[Any]) -> None:
        """Show an answer."""
        match answer.value:
            case Failures() as found:
                self._failures = found
            case AuditPage() as found:
                self._rows = found
                self._draw_audit(found)
            case Metrics() as found:
                self._plots(found)
            case tuple() as found if isinstance(answer.question, Deaths):
                self._dead = found
        self._draw()

    def state_changed(self) -> None:
        """Show counts, workers and providers."""
        self._draw()

    def ticked(self, now: datetime) -> None:
        """Update ages."""
        if self.store.overview is not None:
            self._draw_ages(self.store.overview, now)

    def _draw(self) -> None:
        seen, now = self.store.overview, self.store.now()
        if not self.alive:
            return
        if seen is None or now is None:
            self.query_one("#figures", Lines).show([labelled("Tasks").append_text(self.unknown())])
            return
        self._draw_ages(seen, now)
        if self._rows is None:
            self.query_one("#audit", Lines).show([self.unknown()])

    def _draw_audit(self, found: AuditPage) -> None:
        """Draw the log, once per answer: the queue changes far more often."""
        today = (self.store.now() or datetime.now().astimezone()).astimezone().date()
        rows = [audit_text(row, self.size.width - 4, today) for row in reversed(found.rows)]
        self.query_one("#audit", Lines).show(rows or [Text("nothing yet", QUIET)])

    def _draw_ages(self, seen: Overview, now: datetime) -> None:
        """Draw what changes every second."""
        self.query_one("#figures", Lines).show(self._figures(seen, now))
        workers = self.query_one("#workers", Lines)
        workers.show(self._workers(seen, now) or [Text("none registered", QUIET)])
        groups = self.query_one("#failures", Lines)
        found = self._failures.groups if self._failures else ()
        none = Text("none", QUIET) if self._failures else self.unknown()
        more = self._failures is not None and self._failures.next is not None
        groups.entitle(f"Failures: the {len(found)} largest groups" if more else "Failures")
        groups.show([group_line(group, now) for group in found] or [none])

    def _workers(self, seen: Overview, now: datetime) -> list[Text]:
        """Workers in trouble first: there may be more of them than lines."""
        lost = [dead for dead in self._dead if dead.unreturned]
        safe = [dead for dead in self._dead if not dead.unreturned]
        rows = sorted(seen.workers, key=lambda row: (row.liveness is Liveness.ALIVE, not row.note))
        return [
            *dead_lines(lost[:DEAD], now),
            *worker_lines(rows, now),
            *dead_lines(safe[: max(DEAD - len(lost), 0)], now),
        ]

    def _figures(self, seen: Overview, now: datetime) -> Iterator[Text]:
        rates = self.store.rates
        word, style = state_of(seen)
        yield counts_line(seen.queue, rates, self.size.width - 2)
        ended = tuple(self.store.ended)
        pace = labelled("Pace").append(pace_line(seen, rates))
        room = min(self.size.width - 4 - pace.cell_len, SPARK)
        spark = sparkline(ended, room if room >= LEAST_SPARK else 0)
        yield pace.append(f"  {spark}", "cyan") if spark else pace
        yield labelled("Waiting").append("; ".join(waiting(seen, now)) or "nothing")
        yield (labelled("Workers").append(word, style).append(f"; {_last(seen, now)}"))
        for provider in seen.providers:
            yield provider_line(provider, seen, now)

    def _plots(self, found: Metrics) -> None:
        labels = [when(period, found.by) for period in found.periods]
        ended = any(period.per_minute for period in found.periods)
        throughput = THROUGHPUT.series(found.periods) if ended else ()
        self.query_one("#throughput", Plot).show(throughput, labels)
        self.query_one("#latency", Plot).show(LATENCY.series(found.periods, few=True), labels)


def _last(seen: Overview, now: datetime) -> str:
    at = seen.queue.last_completed_at
    return "no task done yet" if at is None else f"last task done {ago(at, now)}"
