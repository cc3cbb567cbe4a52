"""Health: every current problem with advice, and the measured values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from embedq_tui.live.session import Session
from embedq_tui.live.troubles import troubles
from embedq_tui.rendering.advice import advice_here
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.styles import BAD, DOUBTFUL, GOOD, HEAD, QUIET
from embedq_tui.rendering.words import ago, count
from embedq_worker.insights.health import Measure
from embedq_worker.insights.shares import percentage
from embedq_worker.text import age, printable_line

LOOK_S = 0.5
"""Seconds between redraws: countdowns keep running."""


class TroublesScreen(ModalScreen[None]):
    """Shows the verdict of `health`, live.

    Args:
        session: The session with the database.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,exclamation_mark,enter", "dismiss", "Close", id="troubles.close"),
        Binding(
            "n",
            "app.probe",
            "Probe provider",
            show=False,
            id="app.probe",
            tooltip="Probe unavailable providers now",
        ),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._shown = Text("\n").join(self._lines())

    def compose(self) -> ComposeResult:
        """The problems, then the measured values."""
        with VerticalScroll(classes="dialog -wide") as scroll:
            scroll.border_title = "Health"
            scroll.border_subtitle = key("troubles.close")
            yield Static(self._shown)

    def on_mount(self) -> None:
        """Begin redrawing."""
        self.set_interval(LOOK_S, self._draw)

    def _draw(self) -> None:
        if (shown := Text("\n").join(self._lines())) != self._shown:
            self._shown = shown
            self.query_one(Static).update(shown)

    def _lines(self) -> Iterator[Text]:
        store = self._session.store
        if store.lost is not None:
            yield Text(printable_line(store.lost.error.message), BAD)
            yield Text(printable_line(store.lost.error.advice), QUIET)
        if store.access is not None and (why := self._session.read_only):
            yield Text(f"Read-only: {printable_line(why)}", DOUBTFUL)
        wrong = troubles(store)
        if not wrong and store.lost is None:
            yield Text("No problems found." if store.health else "Checking.", GOOD if store.health else "")
        for trouble in wrong:
            yield Text(printable_line(trouble.message), DOUBTFUL)
            if trouble.advice:
                yield Text(f"  {advice_here(trouble.advice)}", QUIET)
        if store.health and store.health.measures:
            now = store.now() or store.health.at
            yield Text.assemble(("\nMeasured ", HEAD), (ago(store.health.at, now), QUIET))
            for measure in store.health.measures:
                yield _measured(measure)


def _measured(measure: Measure) -> Text:
    limit = "" if measure.threshold is None else f"at most {_value(measure.threshold, measure.unit)}"
    return Text.assemble(
        f"  {measure.name.replace('_', ' '):<22}",
        f"{_value(measure.value, measure.unit):>14}  ",
        (limit, QUIET),
    )


def _value(value: float, unit: str) -> str:
    if unit == "s":
        return age(value)
    if unit == "ratio":
        return percentage(value, 1)
    return f"{value:,.0f}" if unit == "counts" else count(round(value), unit.removesuffix("s"))
