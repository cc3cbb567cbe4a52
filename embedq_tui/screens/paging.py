"""A place in a list that is shown page by page: what is listed, in which order, and how one came there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, Self, TypeVar

from embedq_worker.queue.selection import Direction

F = TypeVar("F")
C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class View(Generic[F, C]):
    """A place in a list.

    Attributes:
        wanted: What is listed.
        starts: Where the pages begin that led here, the one that is shown last; None is the very beginning.
    """

    wanted: F
    direction: Direction = "newest"
    starts: tuple[C | None, ...] = (None,)

    @property
    def page(self) -> int:
        """Number of the page, from 1 on."""
        return len(self.starts)

    def next(self, place: C) -> Self:
        """The next page, which begins there."""
        return replace(self, starts=(*self.starts, place))

    def previous(self) -> Self:
        """The page before."""
        return replace(self, starts=self.starts[:-1] or (None,))

    def first(self) -> Self:
        """The very first page."""
        return replace(self, starts=(None,))

    def filtered(self, wanted: F) -> Self:
        """The same order of other things."""
        return replace(self.first(), wanted=wanted)

    def turned(self) -> Self:
        """The other order."""
        return replace(self.first(), direction="oldest" if self.direction == "newest" else "newest")
