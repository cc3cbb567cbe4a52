"""Paged lists: a position in one (what is listed, in which order, the pages that led there), and its keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, Self, TypeVar

from textual.binding import Binding

from embedq_worker.queue.selection import Direction

F = TypeVar("F")
C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class View(Generic[F, C]):
    """A position in a list.

    Attributes:
        wanted: The filter.
        starts: Start of every page up to the current one, which is last; None is the very beginning.
    """

    wanted: F
    direction: Direction = "newest"
    starts: tuple[C | None, ...] = (None,)

    @property
    def page(self) -> int:
        """Page number, counted from 1."""
        return len(self.starts)

    def next(self, place: C) -> Self:
        """The next page, starting at a cursor."""
        return replace(self, starts=(*self.starts, place))

    def previous(self) -> Self:
        """The previous page."""
        return replace(self, starts=self.starts[:-1] or (None,))

    def first(self) -> Self:
        """The first page."""
        return replace(self, starts=(None,))

    def filtered(self, wanted: F) -> Self:
        """The first page of another filter, in the same order."""
        return replace(self.first(), wanted=wanted)

    def turned(self) -> Self:
        """The first page in the opposite order."""
        return replace(self.first(), direction="oldest" if self.direction == "newest" else "newest")


def page_keys(screen: str) -> tuple[Binding, ...]:
    """The keys that turn the pages of a list by its action ``page``; the line above the list shows them.

    Args:
        screen: Name of the screen, with which the names of the keys begin.
    """
    return (
        Binding(
            "right_square_bracket",
            "page(1)",
            "Next",
            key_display="]",
            show=False,
            id=f"{screen}.next",
            tooltip="Next page",
        ),
        Binding(
            "left_square_bracket",
            "page(-1)",
            "Previous",
            key_display="[",
            show=False,
            id=f"{screen}.previous",
            tooltip="Previous page",
        ),
        Binding(
            "left_curly_bracket", "page(0)", "First page", key_display="{", show=False, id=f"{screen}.first"
        ),
    )
