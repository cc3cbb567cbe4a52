"""Lines of text under a heading: as many as fit, redrawn only where they changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from embedq_tui.rendering.styles import QUIET


def drawn(widget: Widget, lines: Sequence[Text], place: int) -> Strip:
    """Render one line of a widget in its width and style; blank below the last line.

    Bypasses Textual's own rendering, which adds a style with screen coordinates to every piece.
    """
    width, style = widget.size.width, widget.rich_style
    if place >= len(lines) or width <= 0:
        return Strip.blank(width, style)
    line = lines[place].copy()
    line.truncate(width, overflow="ellipsis", pad=True)
    return Strip(line.render(widget.app.console), width).apply_style(style)


class Lines(Widget):
    """Shows lines from the top, as many as fit; redraws only lines that changed.

    Args:
        title: Shown in the border above.
        from_end: If not all lines fit, show the last ones.
    """

    ALLOW_SELECT = False  # Textual cannot tell what stands where
    DEFAULT_CSS = "Lines { height: auto; width: 1fr; }"

    def __init__(self, title: str = "", *, from_end: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._from_end = from_end
        self._lines: tuple[Text, ...] = ()
        self._title = ""
        self.entitle(title)

    def entitle(self, title: str) -> None:
        """Change the title, which is not markup; Textual repaints the widget even for the same one."""
        if title != self._title:
            self._title = title
            self.border_title = Text(title)

    def show(self, lines: Iterable[Text]) -> None:
        """Show these lines; widgets below move only if the number of lines changes."""
        # `Text.render` and comparisons ignore the style of a whole text: turn it into a span.
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
        """Number of lines that do not fit, above the first one shown."""
        return max(len(self._lines) - self.size.height, 0) if self._from_end else 0

    def get_content_height(self, *_: object) -> int:
        """The number of lines."""
        return max(len(self._lines), 1)

    def render_line(self, y: int) -> Strip:
        """Render one line; the last one of a list says how many do not fit."""
        missing = len(self._lines) - self.size.height
        if self._title and not self._from_end and missing > 0 and y == self.size.height - 1:
            return drawn(self, [Text.assemble((f"and {missing + 1:,} more", QUIET))], 0)
        return drawn(self, self._lines, self._above + y)


class Line(Lines):
    """A single line."""

    DEFAULT_CSS = "Line { height: 1; }"

    def say(self, line: Text) -> None:
        """Show this line."""
        self.show([line])
