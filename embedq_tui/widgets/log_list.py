"""A list that grows at its end: only visible lines are drawn, and the cursor stays with its line."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

T = TypeVar("T")


class LogList(Widget, Generic[T], can_focus=True):
    """Shows items, one per line. A DataTable would measure and keep thousands of rows twice a second.

    While the cursor is on the last line, it follows new ones. Anywhere else, cursor and scroll position stay
    with their lines.

    Args:
        key: The identity of an item.
        draw: Renders an item as a line of a given width in cells.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"log-list--cursor"}
    ALLOW_SELECT = False  # Textual cannot tell what stands where
    DEFAULT_CSS = "LogList { height: 1fr; width: 1fr; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Down", show=False, id="log.down"),
        Binding("up,k", "move(-1)", "Up", show=False, id="log.up"),
        Binding("pagedown,ctrl+d", "page(1)", "Page down", show=False, id="log.page_down"),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False, id="log.page_up"),
        Binding("g,home", "first", "First row", show=False, id="log.first"),
        Binding("G,end", "last", "Last row", show=False, id="log.last"),
    ]

    @dataclass
    class Moved(Message):
        """The operator moved the cursor.

        Attributes:
            at_end: It is on the last line.
            beyond: The operator tried to move further.
        """

        at_end: bool
        beyond: bool

    class AtStart(Message):
        """The operator tried to move above the first line."""

    class Selected(Message):
        """The line under the cursor was clicked."""

    def __init__(
        self, key: Callable[[T], Hashable], draw: Callable[[T, int], Text], *, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._key = key
        self._draw = draw
        self._items: Sequence[T] = ()
        self._cursor = 0
        self._top = 0
        self.following = True

    # -- for its users

    @property
    def current(self) -> T | None:
        """The item under the cursor."""
        return self._items[self._cursor] if self._cursor < len(self._items) else None

    @property
    def place(self) -> int:
        """The position of the cursor, counted from 0."""
        return self._cursor

    @property
    def items(self) -> Sequence[T]:
        """The items, top to bottom."""
        return self._items

    def show(self, items: Sequence[T]) -> None:
        """Show these items."""
        before = self.current
        above = self._cursor - self._top
        self._items = items
        if self.following or before is None:
            self._cursor = max(len(items) - 1, 0)
        else:
            self._cursor = self._found(before)
            self._top = self._cursor - above
        self._fit()
        self.refresh()

    def _found(self, item: T) -> int:
        key = self._key(item)
        for at, other in enumerate(self._items):
            if self._key(other) == key:
                return at
        return max(min(self._cursor, len(self._items) - 1), 0)

    def _fit(self) -> None:
        """Keep the cursor visible, and leave no empty space that lines could fill."""
        height = max(self.size.height, 1)
        self._top = min(self._top, self._cursor, max(len(self._items) - height, 0))
        self._top = max(self._top, self._cursor - height + 1, 0)

    # -- keys and mouse

    def action_move(self, lines: int) -> None:
        """Move the cursor."""
        wanted = self._cursor + lines
        last = len(self._items) - 1
        if wanted < 0:
            self.post_message(self.AtStart())
        self._cursor = max(min(wanted, last), 0)
        self.following = wanted >= last
        self._fit()
        self.refresh()
        self.post_message(self.Moved(self.following, wanted > last))

    def action_page(self, pages: int) -> None:
        """Move the cursor by a page."""
        self.action_move(pages * max(self.size.height - 1, 1))

    def action_first(self) -> None:
        """Move to the first line."""
        self.action_move(-self._cursor)

    def action_last(self) -> None:
        """Move to the last line, and follow."""
        self.action_move(len(self._items) - self._cursor)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll by moving the cursor."""
        event.stop()
        self.action_move(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll by moving the cursor."""
        event.stop()
        self.action_move(3)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the line; clicking it again chooses it."""
        at = self._top + event.y
        if at < len(self._items):
            again = at == self._cursor
            self.action_move(at - self._cursor)
            if again:
                self.post_message(self.Selected())

    # -- drawing

    def on_resize(self) -> None:
        """Keep the cursor visible."""
        self._fit()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Render one visible line."""
        width, at = self.size.width, self._top + y
        if at >= len(self._items) or width <= 0:
            return Strip.blank(width, self.rich_style)
        line = self._draw(self._items[at], width)
        line.truncate(width, overflow="ellipsis", pad=True)
        strip = Strip(line.render(self.app.console), width)
        if at == self._cursor:
            strip = strip.apply_style(self.get_component_rich_style("log-list--cursor"))
        return strip.apply_style(self.rich_style).crop_extend(0, width, self.rich_style)
