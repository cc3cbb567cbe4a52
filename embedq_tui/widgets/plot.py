"""A plot that fills its space, or shows a short message if there is nothing to draw."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from embedq_tui.capabilities import ascii_only
from embedq_tui.rendering.plots import Series, plot
from embedq_tui.widgets.lines import drawn


class Plot(Widget):
    """Lines over time; empty until the first data arrive.

    Args:
        title: Shown above, with the unit.
    """

    ALLOW_SELECT = False  # Textual cannot tell what stands where
    DEFAULT_CSS = "Plot { height: 1fr; width: 1fr; }"

    data: reactive[tuple[tuple[Series, ...], tuple[str, ...]] | None] = reactive(None)

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = title
        self._drawn: tuple[object, Sequence[Text]] = (None, ())

    def show(self, lines: Sequence[Series], labels: Sequence[str]) -> None:
        """Show these lines over these labels; redrawn only if they changed."""
        self.data = (tuple(lines), tuple(labels))

    def render_line(self, y: int) -> Strip:
        """Render one line of the plot, which is drawn once per data and size."""
        key = (self.data, self.size)
        if self._drawn[0] != key:
            self._drawn = (key, tuple(self._picture().split(allow_blank=True)))
        return drawn(self, self._drawn[1], y)

    def _picture(self) -> Text:
        if self.data is None:
            return Text()
        lines, labels = self.data
        picture = plot(
            lines,
            labels,
            title=self._title,
            width=self.size.width,
            height=self.size.height,
            ascii_only=ascii_only(),
        )
        return picture if picture is not None else Text.assemble((f"{self._title}: nothing yet", "dim"))
