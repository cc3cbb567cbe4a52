"""Lists that are shown page by page: a position, the page shown, the screen and its keys, all pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, Protocol, Self, TypeVar

from textual import on
from textual.binding import Binding

from embedq_tui.live.questions import Answer, Question
from embedq_tui.live.session import Session
from embedq_tui.rendering.keys import key
from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.rows import Row
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
    def number(self) -> int:
        """The page's number, counted from 1."""
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
V = TypeVar("V", bound=View[Any, Any])


class Pages(Generic[V, P]):
    """A list on the screen: the position wanted, and the page shown, which may be another until it arrives.

    Args:
        view: The first position.
        ask: The question for the page at a position.

    Attributes:
        view: The wanted position.
        page: The page shown; None before the first.
        shown: The question that it answers.
    """

    def __init__(self, view: V, ask: Callable[[V], Question[P]]) -> None:
        self.view = view
        self.page: P | None = None
        self.shown: Question[P] | None = None
        self._ask = ask

    @property
    def asked(self) -> Question[P]:
        """The question for the wanted page."""
        return self._ask(self.view)

    @property
    def arrived(self) -> bool:
        """Whether the wanted page is shown."""
        return self.shown == self.asked

    @property
    def next(self) -> object | None:
        """Where the page after the one shown begins; None if none follows."""
        return None if self.page is None else self.page.next

    def go(self, view: V) -> None:
        """Go to another position.

        Args:
            view: The position.
        """
        self.view = view


class Paged(ConsoleScreen):
    """A screen that shows a list in its `KeyedTable`, page by page.

    Attributes:
        pages: The list.
    """

    pages: Pages[Any, Any]
    _land: int | None = None

    # -- for subclasses to override

    def beyond_first(self) -> None:
        """React to a move beyond the first row of the first page."""

    # -- for subclasses to use

    @property
    def table(self) -> KeyedTable:
        """The list."""
        return self.query_one(KeyedTable)

    def settled(self) -> bool:
        """Whether the wanted page is shown, and the operator has seen the row under the cursor."""
        return bool(self.table.marked) or (self.pages.arrived and self.table.settled)

    def go(self, view: Any, land: int = 0) -> None:
        """Go to another position.

        Args:
            view: The position.
            land: Row to put the cursor on; -1 for the last.
        """
        self.pages.go(view)
        self.table.came = self.pages.arrived  # what is typed next is about the rows to come
        self._land = land
        self.ask_again()

    def show_rows(
        self, rows: Iterable[Row], now: datetime, *, follow: bool = False, held: bool = False
    ) -> None:
        """Show the rows of the wanted page, which has arrived.

        Args:
            rows: Top to bottom.
            now: The database's time.
            follow: Stay on the first row.
            held: Keep the rows in their places on the screen.
        """
        self.table.show(rows, now=now, at=self._land, follow=follow, held=held)
        self._land = None

    # -- wiring

    def take(self, answer: Answer[Any]) -> None:
        """Even while frozen, show a page turned to."""
        if self.alive and answer.question == self.pages.asked and not self.pages.arrived:
            self.answered(answer)
        else:
            super().take(answer)
        if answer.error is not None and answer.question == self.pages.asked:
            self.table.came = True

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer paging only if there is a page to turn to."""
        if action == "page":
            return self.pages.next is not None if parameters == (1,) else self.pages.view.number > 1
        return super().check_action(action, parameters)

    def action_page(self, by: int) -> None:
        """Turn the page; 0 goes to the first page."""
        view = self.pages.view
        if by == 0:
            self.go(view.first())
        elif not self.pages.arrived:
            return  # a key held down turns one page at a time
        elif by > 0 and (place := self.pages.next) is not None:
            self.go(view.next(place))
        elif by < 0 and view.number > 1:
            self.go(view.previous(), -1)

    @on(KeyedTable.AtEdge)
    def _beyond(self, event: KeyedTable.AtEdge) -> None:
        event.stop()
        if not event.forward and self.pages.view.number == 1:
            self.beyond_first()
        elif not event.jumped:
            self.action_page(1 if event.forward else -1)


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
            show=False,
            id=f"{screen}.next",
            tooltip="Next page",
        ),
        Binding(
            "left_square_bracket",
            "page(-1)",
            "Previous",
            show=False,
            id=f"{screen}.previous",
            tooltip="Previous page",
        ),
        Binding("left_curly_bracket", "page(0)", "First page", show=False, id=f"{screen}.first"),
    )
