"""A text of any length: wrapped once per width, and only its visible part is drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

TextLine = tuple[str, str]
"""A line, already safe for a terminal, and its style."""

LONG = 5_000
"""Length from which a line is cut at the width rather than between words, which would take too long."""


def wrapped(line: str, width: int) -> Iterator[str]:
    """Wrap a line into pieces that fit.

    Args:
        line: Without line breaks and control characters.
        width: In cells.
    """
    line = line.expandtabs(4)
    if line.isascii() and len(line) <= width:
        yield line
    elif len(line) >= LONG:
        yield from _chopped(line, max(width, 2))
    elif line.isascii():
        indent = line[: min(len(line) - len(line.lstrip()), width // 2)]
        yield from textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
    else:
        yield from chop_cells(line, max(width, 2)) or [""]


def _chopped(line: str, width: int) -> Iterator[str]:
    at = 0
    while at < len(line):
        piece = line[at : at + width]
        while not piece.isascii() and (over := cell_len(piece) - width) > 0:
            piece = piece[: -max(over // 2, 1)]  # a character is at most two cells wide
        at += len(piece)
        yield piece


class TextView(ScrollView, can_focus=True):
    """Shows wrapped lines; they can be scrolled and searched."""

    ALLOW_SELECT = False  # Textual cannot tell what stands where
    DEFAULT_CSS = "TextView { height: 1fr; width: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll_down", "Down", show=False, id="text.down"),
        Binding("up,k", "scroll_up", "Up", show=False, id="text.up"),
        Binding("pagedown,ctrl+d", "page_down", "Page down", show=False, id="text.page_down"),
        Binding("pageup,ctrl+u", "page_up", "Page up", show=False, id="text.page_up"),
        Binding("g,home", "scroll_home", "First line", show=False, id="text.first"),
        Binding("G,end", "scroll_end", "Last line", show=False, id="text.last"),
        Binding("slash", "search", "Search", show=False, id="text.search"),
        Binding("n", "match(1)", "Next match", show=False, id="text.next_match"),
        Binding("N", "match(-1)", "Previous match", show=False, id="text.previous_match"),
    ]

    @dataclass
    class Searched(Message):
        """The operator wants to search; answer with `search`."""

        view: TextView
        sought: str
        """What was sought last."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._given: tuple[TextLine, ...] = ()
        self._pieces: list[TextLine] = []
        self._wrapped_at = 0
        self._sought = ""
        self._match = -1

    @property
    def room(self) -> int:
        """Width, in cells, of lines that are not wrapped, whether or not there is a scrollbar."""
        return self.content_region.width - self.scrollbar_size_vertical

    def show(self, lines: Iterable[TextLine]) -> None:
        """Show these lines; the scroll position stays."""
        given = tuple(lines)
        if given != self._given:
            self._given = given
            self._wrapped_at = 0
            self._wrap()

    def search(self, sought: str) -> bool:
        """Highlight a text, and go to where it is, from the first visible line on.

        Args:
            sought: In any case; empty to highlight nothing.

        Returns:
            Whether it is there.
        """
        self._sought, self._match = sought.casefold(), self.scroll_offset.y - 1
        self.refresh()
        self.refresh_bindings()
        return not sought or self._go_on(1)

    def _go_on(self, by: int) -> bool:
        """Go to the next match or the previous one, beyond the end from the other one on."""
        places = list(self._matches())
        if not places:
            return False
        there = [place for place in places if (place - self._match) * by > 0]
        self._match = (there or places)[0 if by > 0 else -1]
        if not 0 <= self._match - self.scroll_offset.y < self.size.height:
            self.scroll_to(y=self._match - self.size.height // 3, animate=False)
        self.refresh()
        return True

    def _matches(self) -> Iterator[int]:
        """The pieces with what is sought, or in which it begins."""
        texts = [*(piece.casefold() for piece, _ in self._pieces), ""]
        for at, (text, after) in enumerate(pairwise(texts)):
            over = after.lstrip()
            if self._sought in text or (
                self._sought not in over and (self._sought in text + over or self._sought in f"{text} {over}")
            ):
                yield at

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Going to matches needs a search."""
        return bool(self._sought) if action == "match" else super().check_action(action, parameters)

    def action_search(self) -> None:
        """Ask what to search for."""
        self.post_message(self.Searched(self, self._sought))

    def action_match(self, by: int) -> None:
        """Go to another match."""
        if not self._go_on(by):
            self.app.bell()

    def on_resize(self) -> None:
        """Re-wrap."""
        self._wrap()

    def watch_show_vertical_scrollbar(self) -> None:
        """Re-wrap: the scrollbar takes a column, which is no resize."""
        self._wrap()

    def _wrap(self) -> None:
        width = self.scrollable_content_region.width
        if width <= 0 or width == self._wrapped_at:
            return
        self._wrapped_at = width
        before = self._pieces
        self._pieces = [(piece, style) for line, style in self._given for piece in wrapped(line, width)]
        size = Size(width, len(self._pieces))
        if size != self.virtual_size:
            self.virtual_size = size
            self.refresh()
            return
        above, height = self.scroll_offset.y, self.size.height
        changed = [at for at, piece in enumerate(self._pieces) if piece != before[at]]
        if lines := [Region(0, at - above, width, 1) for at in changed if 0 <= at - above < height]:
            self.refresh(*lines)

    def render_line(self, y: int) -> Strip:
        """Render one visible line."""
        at, width = y + self.scroll_offset.y, self.scrollable_content_region.width
        if not 0 <= at < len(self._pieces):
            return Strip.blank(self.size.width, self.rich_style)
        piece, style = self._pieces[at]
        text = Text(piece)
        text.stylize(style)  # not its own style, which Rich does not draw if there is no other
        if self._sought:
            text.highlight_words([self._sought], "reverse", case_sensitive=False)
            if at == self._match:
                text.stylize("underline")
        strip = Strip(text.render(self.app.console)).apply_style(self.rich_style)
        return strip.crop_extend(0, width, self.rich_style)

    def action_scroll_down(self) -> None:
        """Scroll a line down."""
        self.scroll_relative(y=1, animate=False)

    def action_scroll_up(self) -> None:
        """Scroll a line up."""
        self.scroll_relative(y=-1, animate=False)

    def action_page_down(self) -> None:
        """Scroll a page down."""
        self.scroll_relative(y=self.size.height, animate=False)

    def action_page_up(self) -> None:
        """Scroll a page up."""
        self.scroll_relative(y=-self.size.height, animate=False)

    def action_scroll_home(self) -> None:
        """Scroll to the first line."""
        self.scroll_to(y=0, animate=False)

    def action_scroll_end(self) -> None:
        """Scroll to the last line."""
        self.scroll_to(y=self.max_scroll_y, animate=False)
