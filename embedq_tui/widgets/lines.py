"""Lines of text under a heading: as many as there is room for, drawn anew when they are others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget


class Lines(Widget):
    """Shows lines from the top; what does not fit is cut.

    Args:
        title: Above them, in the border.
        from_end: The last lines are shown where not all fit.
    """

    DEFAULT_CSS = "Lines { height: auto; width: 1fr; }"

    lines: reactive[tuple[Text, ...]] = reactive(())

    def __init__(
        self,
        title: str = "",
        *,
        from_end: bool = False,
        id: str | None = None,  # noqa: A002 - as every widget calls it
    ) -> None:
        super().__init__(id=id)
        self._from_end = from_end
        if title:
            self.border_title = title

    def show(self, lines: Iterable[Text]) -> None:
        """Show these."""
        self.lines = tuple(lines)

    def watch_lines(self, before: tuple[Text, ...], now: tuple[Text, ...]) -> None:
        """Whatever is below moves only where there are more or fewer: ages change every second."""
        if len(before) != len(now):
            self.refresh(layout=True)

    def get_content_height(self, *_: object) -> int:
        """As many as there are."""
        return max(len(self.lines), 1)

    def render_line(self, y: int) -> Strip:
        """One of them."""
        width = self.size.width
        lines: Sequence[Text] = self.lines
        if self._from_end and len(lines) > self.size.height:
            lines = lines[-self.size.height :]
        if y >= len(lines) or width <= 0:
            return Strip.blank(width, self.rich_style)
        line = Text.assemble(lines[y])  # `Text.render` draws spans, and forgets the style of a whole text
        line.truncate(width, overflow="ellipsis", pad=True)
        segments = line.render(self.app.console)
        return Strip(segments, width).apply_style(self.rich_style).crop_extend(0, width, self.rich_style)
