"""Lines of text under a heading: as many as there is room for, drawn anew when they are others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


def drawn(widget: Widget, lines: Sequence[Text], place: int) -> Strip:
    """One of the lines of a widget: as wide as that and in its style; below the last one there is nothing.

    Textual would also remember where on the screen each piece of it stands, in a style of its own.
    """
    width, style = widget.size.width, widget.rich_style
    if place >= len(lines) or width <= 0:
        return Strip.blank(width, style)
    line = lines[place].copy()
    line.truncate(width, overflow="ellipsis", pad=True)
    return Strip(line.render(widget.app.console), width).apply_style(style)


class Lines(Widget):
    """Shows lines from the top; what does not fit is cut, and only what is another is drawn.

    Args:
        title: Above them, in the border.
        from_end: The last lines are shown where not all fit.
    """

    DEFAULT_CSS = "Lines { height: auto; width: 1fr; }"

    def __init__(
        self,
        title: str = "",
        *,
        from_end: bool = False,
        id: str | None = None,  # noqa: A002 - as every widget calls it
    ) -> None:
        super().__init__(id=id)
        self._from_end = from_end
        self._lines: tuple[Text, ...] = ()
        if title:
            self.border_title = title

    def show(self, lines: Iterable[Text]) -> None:
        """Show these; whatever is below moves only where there are more or fewer."""
        # `Text.render` draws spans, and forgets the style of a whole text; so does a comparison.
        now = tuple(Text.assemble(line) if line.style else line for line in lines)
        before, self._lines = self._lines, now
        if len(before) != len(now):
            self.refresh(layout=True)
        elif changed := [place for place, line in enumerate(now) if line != before[place]]:
            above, (width, height) = self._above, self.size
            shown = [Region(0, place - above, width, 1) for place in changed if 0 <= place - above < height]
            if shown:
                self.refresh(*shown)

    @property
    def _above(self) -> int:
        """Lines there is no room for, before the first that is shown."""
        return max(len(self._lines) - self.size.height, 0) if self._from_end else 0

    def get_content_height(self, *_: object) -> int:
        """As many as there are."""
        return max(len(self._lines), 1)

    def render_line(self, y: int) -> Strip:
        """One of them."""
        return drawn(self, self._lines, self._above + y)


class Line(Lines):
    """A single one."""

    DEFAULT_CSS = "Line { height: 1; }"

    def say(self, line: Text) -> None:
        """Show this one."""
        self.show([line])
