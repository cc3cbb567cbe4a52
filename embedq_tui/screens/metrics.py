"""Throughput, times, depth and errors over time: plots, and the figures below them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Static

from embedq_tui.metric_figures import ALL, FIGURES, MAIN, anything, when
from embedq_tui.plots import Line as PlotLine
from embedq_tui.questions import Answer, Question
from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.screens.frame import Line, spread
from embedq_tui.styles import BAD, HEAD, QUIET
from embedq_tui.widgets.keyed_table import Column, KeyedTable, Row
from embedq_tui.widgets.plot import Plot
from embedq_worker.database import Connection
from embedq_worker.insights.metrics import Metrics, Period, Span, Spread, metrics
from embedq_worker.settings import Settings
from embedq_worker.text import age, printable_line


@dataclass(frozen=True, slots=True)
class Measured:
    """The pace of the queue over a time.

    Attributes:
        plotted: In short periods.
        tabled: In periods of which a reader can take in each; may be the same.
    """

    plotted: Metrics
    tabled: Metrics


class Measure(Question[Measured]):
    """Costs seconds where tasks are millions: one is asked at a time, and seldom. No signal makes it new."""

    title: ClassVar[str]
    since: ClassVar[timedelta]
    plotted: ClassVar[Span]
    tabled: ClassVar[Span]
    hears: ClassVar[frozenset[str]] = frozenset()
    within_s: ClassVar[float] = 60.0

    async def ask(self, connection: Connection, settings: Settings) -> Measured:
        """Ask it once."""
        fine = await metrics(connection, by=self.plotted, since=self.since)
        if self.tabled is self.plotted:
            return Measured(fine, fine)
        return Measured(fine, await metrics(connection, by=self.tabled, since=self.since))


@dataclass(frozen=True)
class LastHour(Measure):
    """By minute. Half of the seconds from one answer to the next are of each kind of wait."""

    title: ClassVar[str] = "1 h"
    since: ClassVar[timedelta] = timedelta(hours=1)
    plotted: ClassVar[Span] = Span.MINUTE
    tabled: ClassVar[Span] = Span.MINUTE
    pause_s: ClassVar[float] = 5.0
    every_s: ClassVar[float] = 5.0


@dataclass(frozen=True)
class LastDay(Measure):
    """By hour."""

    title: ClassVar[str] = "24 h"
    since: ClassVar[timedelta] = timedelta(hours=24)
    plotted: ClassVar[Span] = Span.HOUR
    tabled: ClassVar[Span] = Span.HOUR
    pause_s: ClassVar[float] = 30.0
    every_s: ClassVar[float] = 30.0


@dataclass(frozen=True)
class LastWeek(Measure):
    """By hour, and by day."""

    title: ClassVar[str] = "7 d"
    since: ClassVar[timedelta] = timedelta(days=7)
    plotted: ClassVar[Span] = Span.HOUR
    tabled: ClassVar[Span] = Span.DAY
    pause_s: ClassVar[float] = 150.0
    every_s: ClassVar[float] = 150.0


SPANS: tuple[Measure, ...] = (LastHour(), LastDay(), LastWeek())


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot.

    Attributes:
        title: With the unit.
        lines: By name, what of a period is drawn.
    """

    name: str
    title: str
    lines: dict[str, Callable[[Period], float | None]]


def _of(spread: Callable[[Period], Spread | None], name: str) -> Callable[[Period], float | None]:
    def value(period: Period) -> float | None:
        found = spread(period)
        return None if found is None else float(getattr(found, name))

    return value


def _percent(share: float | None) -> float | None:
    return None if share is None else share * 100


_PERCENTILES = ("p50", "p95", "p99")
PICTURES = (
    Picture("throughput", "Tasks ended per minute", {"ended": lambda period: period.per_minute}),
    Picture(
        "latency",
        "Processing time, ms",
        {name: _of(lambda period: period.processing_ms, name) for name in _PERCENTILES},
    ),
    Picture("depth", "Tasks pending or in hand", {"depth": lambda period: period.depth_mean}),
    Picture("errors", "Failed, % of what ended", {"failed": lambda period: _percent(period.error_rate)}),
    Picture(
        "wait", "Wait, ms", {name: _of(lambda period: period.wait_ms, name) for name in _PERCENTILES}
    ),
    Picture(
        "utilization", "Slots busy, % of all", {"busy": lambda period: _percent(period.utilization)}
    ),
)  # fmt: skip

WIDTHS = {"Done": 9, "Failed": 7, "p50": 7, "p95": 7, "p99": 7, "Busy": 5, "Error": 6}
LEAST = {"Wait p95": 92}


class MetricsScreen(ConsoleScreen):
    """Plots: one at a time, four or six, as there is room."""

    MODE = "metrics"
    CSS_PATH = "metrics.tcss"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "span", "1h/24h/7d", id="metrics.span", tooltip="The next span of time"),
        Binding("left,h", "turn(-1)", "Plot before", show=False, id="metrics.previous", priority=True),
        Binding("right,l", "turn(1)", "Next plot", key_display="→", id="metrics.next", priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._span = SPANS[0]
        self._page = 0
        self._each = 1
        self._measured: Measured | None = None
        self._answer: Answer[Any] | None = None

    # -- what base asks

    def body(self) -> ComposeResult:
        """Which span, plots, figures."""
        ascii_only = self.console.ascii_only
        yield Line(id="about")
        yield Static(id="note")
        with Container(id="plots"):
            for picture in PICTURES:
                yield Plot(picture.title, ascii_only=ascii_only, id=picture.name)
        yield KeyedTable(_columns(), ascii_only=ascii_only, id="table")

    def questions(self) -> Iterable[Question[Any]]:
        """One at a time."""
        yield self._span

    def answered(self, answer: Answer[Any]) -> None:
        """Show the figures; those before stay where there are no new ones."""
        self._answer = answer
        if isinstance(answer.value, Measured):
            self._measured = answer.value
        self._draw()

    def on_mount(self) -> None:
        """Nothing is known yet."""
        self._draw()

    def on_resize(self) -> None:
        """As many plots as there is room for."""
        width, height = self.size
        self._each = 6 if width >= 180 and height >= 44 else 4 if width >= 120 and height >= 36 else 1
        self._page = min(self._page, self._pages - 1)
        self.set_class(self._each == 4, "-four")
        self.set_class(self._each == 6, "-six")
        self.set_class(height < 18, "-tiny")
        super().on_resize()
        self._choose()

    def draw_frame(self) -> None:
        """Also how old the figures are."""
        super().draw_frame()
        if self.is_mounted:
            self.query_one("#about", Line).text = spread(self._spans(), self._state(), self.size.width)

    # -- keys

    def action_span(self) -> None:
        """The next span."""
        self._span = SPANS[(SPANS.index(self._span) + 1) % len(SPANS)]
        self._measured = self._answer = None
        if self.frozen:
            self.freeze(False)
        self._draw()
        self.ask_anew()

    def action_turn(self, pages: int) -> None:
        """The next plots."""
        self._page = (self._page + pages) % self._pages
        self._choose()
        self.draw_frame()

    # -- drawing

    @property
    def _pages(self) -> int:
        return -(-len(PICTURES) // self._each)

    def _choose(self) -> None:
        first = self._page * self._each
        for at, picture in enumerate(PICTURES):
            self.query_one(f"#{picture.name}", Plot).display = first <= at < first + self._each
        self.set_class(self._each == 4 and first + 2 >= len(PICTURES), "-row")

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        note = self._note()
        self.set_class(bool(note), "-quiet")
        if note:
            self.query_one("#note", Static).update(Text(note, QUIET))
        elif self._measured is not None:
            self._plot(self._measured.plotted)
            self.query_one("#table", KeyedTable).show(_rows(self._measured.tabled))
        self.draw_frame()

    def _note(self) -> str:
        """What there is to say instead of figures."""
        if self._measured is None:
            return "" if self._answer and self._answer.error else "measuring..."
        if anything(self._measured.plotted):
            return ""
        return f"Nothing ended and no worker ran in the last {self._span.title}."

    def _plot(self, found: Metrics) -> None:
        periods = _telling(found.periods)
        labels = [when(period, found.by) for period in periods]
        for picture in PICTURES:
            lines = [
                PlotLine(name, [value(period) for period in periods]) for name, value in picture.lines.items()
            ]
            self.query_one(f"#{picture.name}", Plot).show(lines, labels)

    def _spans(self) -> Text:
        line = Text(" ")
        for span in SPANS:
            line.append(f" {span.title} ", f"reverse {HEAD}" if span is self._span else QUIET)
        if self._pages > 1:
            line.append(f"   < {self._page + 1}/{self._pages} >", QUIET)
        return line

    def _state(self) -> Text:
        answer, now = self._answer, self.store.now()
        if answer is not None and answer.error is not None:
            return Text(f"{printable_line(answer.error.message)} ", BAD)
        if self._measured is None or now is None:
            return Text("measuring ", QUIET)
        old_s = (now - self._measured.plotted.at).total_seconds()
        return Text(f"by {self._measured.plotted.by.value}, {age(old_s)} old ", QUIET)


def _telling(periods: Sequence[Period]) -> Sequence[Period]:
    """Without the one that has just begun: of its first seconds a plot would show a fall that is none."""
    if (
        len(periods) > 1
        and (periods[-1].until - periods[-1].since) < (periods[-2].until - periods[-2].since) / 2
    ):
        return periods[:-1]
    return periods


def _columns() -> list[Column]:
    columns = [Column("when", "", 11)]
    for name in ALL:
        width, least = WIDTHS.get(name, 8), LEAST.get(name, 0 if name in MAIN else 132)
        columns.append(Column(name, f"{name:>{width}}", width, least))
    return columns


def _rows(found: Metrics) -> Iterator[Row]:
    """All of the time first, then its periods, the newest first."""
    yield _row("all", "All", found.total, HEAD)
    for period in reversed(found.periods):
        yield _row(period.since.isoformat(), when(period, found.by), period, "")


def _row(key: str, name: str, period: Period, style: str) -> Row:
    figures = (Text(FIGURES[figure](period), style, justify="right") for figure in ALL)
    return Row(key, (Text(name, style or QUIET), *figures))
