"""A plot that fits the space it is given, and keeps quiet where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import RenderResult
from textual.reactive import reactive
from textual.widget import Widget

from embedq_tui.rendering.plots import Line, plot


class Plot(Widget):
    """Lines over time; empty until it is shown any.

    Args:
        title: Above it, with the unit.
        ascii_only: Nothing but ASCII can be shown.
    """

    DEFAULT_CSS = "Plot { height: 1fr; width: 1fr; }"

    data: reactive[tuple[tuple[Line, ...], tuple[str, ...]] | None] = reactive(None)

    def __init__(
        self,
        title: str,
        *,
        ascii_only: bool = False,
        id: str | None = None,  # noqa: A002 - as every widget calls it
    ) -> None:
        super().__init__(id=id)
        self._title = title
        self._ascii_only = ascii_only
        self._drawn: tuple[object, Text] | None = None

    def show(self, lines: Sequence[Line], labels: Sequence[str]) -> None:
        """Show these lines over these labels; drawn only where they are others."""
        self.data = (tuple(lines), tuple(labels))

    def render(self) -> RenderResult:
        """The plot; drawn once for its data and size."""
        key = (self.data, self.size)
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = (key, self._draw())
        return self._drawn[1]

    def _draw(self) -> Text:
        if self.data is None:
            return Text()
        lines, labels = self.data
        picture = plot(
            lines,
            labels,
            title=self._title,
            width=self.size.width,
            height=self.size.height,
            ascii_only=self._ascii_only,
        )
        return picture if picture is not None else Text(f"{self._title}: nothing yet", "dim")
