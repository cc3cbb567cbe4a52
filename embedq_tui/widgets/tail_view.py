"""The last lines of a growing text: wrapped, and followed while its end is visible."""

from __future__ import annotations

from collections.abc import Iterable

from textual.geometry import Size

from embedq_tui.widgets.text_view import TextLine, TextView, wrapped


class TailView(TextView):
    """Shows the newest lines. Scrolled back, it stays with the lines being read.

    Args:
        most: Number of wrapped lines to keep.
    """

    def __init__(self, most: int, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._most = most
        self._follows = True

    @property
    def empty(self) -> bool:
        """Whether nothing has been added yet."""
        return not self._given

    def add(self, lines: Iterable[TextLine]) -> None:
        """Append lines."""
        came = tuple(lines)
        self._given = (*self._given, *came)[-self._most :]
        if width := self._wrapped_at:
            self._take([(piece, style) for line, style in came for piece in wrapped(line, width)])

    def on_resize(self) -> None:
        """Re-wrap; if the end was visible, keep it visible."""
        self._wrap()
        if self._follows:
            self._to_end()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolling back stops following; reaching the end resumes it."""
        super().watch_scroll_y(old_value, new_value)
        self._follows = new_value >= self.max_scroll_y

    def _take(self, pieces: list[TextLine]) -> None:
        follows = self._follows
        gone = max(len(self._pieces) + len(pieces) - self._most, 0)
        self._pieces = [*self._pieces, *pieces][gone:]
        self._match -= gone
        self.virtual_size = Size(self._wrapped_at, len(self._pieces))
        if follows:
            self._to_end()
        elif gone:
            self.scroll_to(y=self.scroll_offset.y - gone, animate=False, immediate=True, force=True)
        self.refresh()

    def _to_end(self) -> None:
        # Forced: without a scrollbar, which is missing at first, Textual does not scroll.
        self.scroll_end(animate=False, immediate=True, force=True)
