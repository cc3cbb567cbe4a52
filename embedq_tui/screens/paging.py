"""Paged lists: a position in one (what is listed, in which order, which pages led there), keys, all pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, Self, TypeVar

from textual.binding import Binding

from embedq_tui.live.questions import Question
from embedq_tui.live.session import Session
from embedq_tui.rendering.keys import key
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


class Page(Protocol):
    """A page of a list."""

    @property
    def next(self) -> object | None:
        """Where the next page begins; None on the last one."""


P = TypeVar("P", bound=Page)


async def all_pages(
    session: Session, asked: Callable[[Any], Question[P]], rows: Callable[[P], Sequence[object]]
) -> AsyncIterator[Sequence[object]]:
    """The rows of a list, page by page, for an export.

    Args:
        session: With the database.
        asked: The question for the page that begins at a place; None for the first.
        rows: The rows of a page.

    Raises:
        EmbedqError: The database failed.
    """
    place: object | None = None
    while True:
        page = await session.ask(asked(place))
        yield rows(page)
        if (place := page.next) is None:
            return


def next_page(screen: str) -> str:
    """How to turn to the next page, for the end of a line.

    Args:
        screen: Name of the screen, as in `page_keys`.
    """
    return f", {key(f'{screen}.next')}: next"


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
