"""Throughput, latency, depth and errors over time: plots, with the figures below."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Static

from embedq_tui.live.questions import Answer, Question
from embedq_tui.rendering.metric_figures import ALL, anything, cells, document, when
from embedq_tui.rendering.metric_plots import PICTURES
from embedq_tui.rendering.styles import BAD, HEAD, QUIET
from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.screens.exporting import export
from embedq_tui.screens.frame import spread
from embedq_tui.screens.metrics.questions import SPANS, Measured
from embedq_tui.screens.metrics.render import COLUMNS, named, rows, telling
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.lines import Line
from embedq_tui.widgets.plot import Plot
from embedq_worker.insights.metrics import Metrics
from embedq_worker.text import age, printable_line

MEASURING = "measuring..."


class MetricsScreen(ConsoleScreen):
    """Shows one, four or six plots at a time, depending on the size of the terminal."""

    MODE = "metrics"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "span", "1h/24h/7d", id="metrics.span", tooltip="Change the time span"),
        Binding(
            "e", "export", "Export", show=False, id="metrics.export", tooltip="Export the figures to a file"
        ),
        Binding("y", "copy", "Copy", show=False, id="metrics.copy", tooltip="Copy the table"),
        Binding("left,h", "turn(-1)", "Previous plot", show=False, id="metrics.previous", priority=True),
        Binding("right,l", "turn(1)", "Next plot", id="metrics.next", priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._span = SPANS[0]
        self._page = 0
        self._each = 1
        self._measured: Measured | None = None
        self._answer: Answer[Any] | None = None
        # References instead of queries: when the console closes, nested widgets are removed first.
        self._plots = [Plot(picture.title, id=picture.name) for picture in PICTURES]
        self._table = KeyedTable(COLUMNS, id="table")
        self._text = Static(MEASURING, id="note")
        self.add_class("-quiet")

    # -- overrides

    def body(self) -> ComposeResult:
        """The time span, plots, figures."""
        yield Line(id="about")
        yield self._text
        yield Container(*self._plots, id="plots")
        yield self._table

    def questions(self) -> Iterable[Question[Any]]:
        """The question for the current span."""
        yield self._span

    def answered(self, answer: Answer[Any]) -> None:
        """Show the figures; after an error the previous ones stay."""
        self._answer = answer
        if isinstance(answer.value, Measured):
            self._measured = answer.value
        self._draw()

    def on_resize(self) -> None:
        """Show as many plots as fit."""
        width, height = self.size
        self._each = 6 if width >= 180 and height >= 44 else 4 if width >= 120 and height >= 36 else 1
        self._page = min(self._page, self._pages - 1)
        self.set_class(self._each == 4, "-four")
        self.set_class(self._each == 6, "-six")
        self.set_class(height < 18, "-tiny")
        self._choose()

    def draw_frame(self) -> None:
        """Also update the age of the figures."""
        super().draw_frame()
        if self.alive:
            self.query_one("#about", Line).say(spread(self._spans(), self._state(), self.size.width))

    # -- keys

    def action_span(self) -> None:
        """Change to the next span."""
        self._span = SPANS[(SPANS.index(self._span) + 1) % len(SPANS)]
        self._measured = self._answer = None
        if self.frozen:
            self.freeze(False)
        self._draw()
        self.ask_again()

    def action_turn(self, pages: int) -> None:
        """Turn to other plots."""
        self._page = (self._page + pages) % self._pages
        self._choose()
        self.draw_frame()

    @work(exclusive=True, group="export", exit_on_error=False)
    async def action_export(self) -> None:
        """Export the figures of each period to a file."""
        if self._measured is not None:
            await export(self.desk, "metrics", self._exported(self._measured.plotted))

    async def _exported(self, found: Metrics) -> AsyncIterator[Sequence[object]]:
        yield [document(period) for period in found.periods]

    def action_copy(self) -> None:
        """Copy the table."""
        if self._measured is not None:
            found = self._measured.tabled
            lines = [("", *ALL), *((name, *cells(period, ALL)) for name, period in named(found))]
            self.to_clipboard("\n".join(map("\t".join, lines)), "the table")

    # -- drawing

    @property
    def _pages(self) -> int:
        return -(-len(PICTURES) // self._each)

    def _choose(self) -> None:
        first = self._page * self._each
        for at, plot in enumerate(self._plots):
            plot.display = first <= at < first + self._each
        self.set_class(self._each == 4 and first + 2 >= len(PICTURES), "-row")

    def _draw(self) -> None:
        if not self.alive:
            return
        note = self._note()
        self.set_class(bool(note), "-quiet")
        if note:
            self._text.update(Text(note, QUIET))
        elif self._measured is not None:
            self._plot(self._measured.plotted)
            self._table.show(rows(self._measured.tabled))
        self.draw_frame()

    def _note(self) -> str:
        """The message to show instead of figures; empty if there are figures."""
        if self._measured is None:
            error = self._answer and self._answer.error
            return printable_line(error.message) if error else self.unknown(MEASURING).plain
        if anything(self._measured.plotted):
            return ""
        return f"No task ended and no worker ran in the last {self._span.title}."

    def _plot(self, found: Metrics) -> None:
        periods = telling(found.periods)
        labels = [when(period, found.by) for period in periods]
        for picture, plot in zip(PICTURES, self._plots, strict=True):
            plot.show(picture.series(periods), labels)

    def _spans(self) -> Text:
        line = Text(" ")
        for span in SPANS:
            line.append(f" {span.title} ", f"reverse {HEAD}" if span is self._span else QUIET)
        if self._pages > 1:
            line.append(f"   < {self._page + 1}/{self._pages} >", QUIET)
        return line

    def _state(self) -> Text:
        answer, now = self._answer, self.store.now()
        if self._measured is None or now is None:
            failed = answer is not None and answer.error is not None
            return Text("unknown ", BAD) if failed else self.unknown("measuring").append(" ")
        if answer is not None and answer.error is not None:
            return Text(f"{printable_line(answer.error.message)} ", BAD)
        old_s = (now - self._measured.plotted.at).total_seconds()
        return Text(f"by {self._measured.plotted.by.value}, {age(old_s)} old ", QUIET)
