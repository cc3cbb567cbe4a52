"""The last lines of a text that grows: wrapped, and followed while its end is in sight."""

from __future__ import annotations

from collections.abc import Iterable

from textual.events import Resize
from textual.geometry import Size

from embedq_tui.widgets.text_view import TextLine, TextView, wrapped


class TailView(TextView):
    """Shows what came last. Scrolled back, it stays with the lines that are read.

    Args:
        most: Lines that are kept, as they are wrapped.
    """

    def __init__(self, most: int, *, id: str | None = None) -> None:  # noqa: A002 - as every widget calls it
        super().__init__(id=id)
        self._most = most
        self._follows = True

    @property
    def empty(self) -> bool:
        """Whether nothing came yet."""
        return not self._given

    def add(self, lines: Iterable[TextLine]) -> None:
        """Take lines that came."""
        came = tuple(lines)
        self._given = (*self._given, *came)[-self._most :]
        if width := self._wrapped_at:
            self._take([(piece, style) for line, style in came for piece in wrapped(line, width)])

    def on_resize(self, event: Resize) -> None:
        """Its end stays in sight where it was."""
        self._wrap()
        if self._follows:
            self._to_end()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Whoever scrolls back reads; at the end what comes is followed again."""
        super().watch_scroll_y(old_value, new_value)
        self._follows = new_value >= self.max_scroll_y

    def _take(self, pieces: list[TextLine]) -> None:
        follows = self._follows
        gone = max(len(self._pieces) + len(pieces) - self._most, 0)
        self._pieces = [*self._pieces, *pieces][gone:]
        self.virtual_size = Size(self._wrapped_at, len(self._pieces))
        if follows:
            self._to_end()
        elif gone:
            self.scroll_to(y=self.scroll_offset.y - gone, animate=False, immediate=True, force=True)
        self.refresh()

    def _to_end(self) -> None:
        # By force: at first there is no scrollbar yet, without which nothing is scrolled.
        self.scroll_end(animate=False, immediate=True, force=True)
