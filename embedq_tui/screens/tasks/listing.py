"""The list of tasks as the operator sees it: a page whose rows keep their places while data moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from embedq_tui.live.questions import Question
from embedq_tui.screens.paging import View
from embedq_tui.screens.tasks.questions import PAGE, Kept, Matching, TaskList
from embedq_worker.insights.overview import StatusCounts
from embedq_worker.insights.tasks import TaskPage, TaskRow
from embedq_worker.queue.selection import Cursor, Order, in_order_of_claims
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.queue.words import STATUSES, rank_of

MOST = 2 * PAGE
"""Rows at most."""


@dataclass(frozen=True, slots=True)
class TaskView(View[TaskFilter, Cursor]):
    """A place in a list of tasks, whose first page can be pinned.

    Attributes:
        claimed: In the order in which they are claimed, where they have one, instead of by time.
    """

    wanted: TaskFilter = field(default_factory=TaskFilter)
    claimed: bool = False

    @property
    def order(self) -> Order:
        """What comes first."""
        return "next" if self.claimed else self.direction

    def filtered(self, wanted: TaskFilter) -> TaskView:
        """The same order of other tasks; by time where they have no other."""
        return replace(self.first(), wanted=wanted, claimed=self.claimed and _waiting(wanted))

    def turned(self) -> TaskView:
        """The other order; of pending tasks there is a third one."""
        claimed = self.order == "oldest" and _waiting(self.wanted)
        return replace(
            self.first(), claimed=claimed, direction="oldest" if self.order == "newest" else "newest"
        )

    @property
    def at_top(self) -> bool:
        """Whether it is the first page, with whatever comes."""
        return self.starts == (None,)

    @property
    def pinned(self) -> bool:
        """Whether what comes before the first page is left out, so that its rows stay."""
        return self.starts[0] is not None

    def pin(self, first: TaskRow) -> TaskView:
        """The first page, from this task on."""
        if first.at is None:  # such a place cannot be told from what comes before it
            return self
        beyond = UUID(int=2**128 - 1 if self.order == "newest" else 0)
        rank = rank_of(first.priority) if self.claimed else None
        return replace(self, starts=(Cursor(first.at, beyond, rank),))


def _waiting(wanted: TaskFilter) -> bool:
    return wanted.statuses == ("pending",) and in_order_of_claims(wanted)


class Listing:
    """What is shown of a list of tasks, and what has to be asked to show it.

    It follows whatever comes, or is held: then a task leaves only when it no longer matches, and of a list
    of several pages what is newer waits above.

    Attributes:
        view: The place that is wanted.
        tasks: That are shown, top to bottom.
        page: From which they are; None while there is none.
        following: Whatever comes is shown.
    """

    def __init__(self) -> None:
        self.view = TaskView()
        self.tasks: Sequence[TaskRow] = ()
        self.page: TaskPage | None = None
        self.following = True
        self._shown: TaskList | None = None
        self._kept = Kept()
        self._counts: dict[TaskFilter, int | None] = {}

    # -- asking

    @property
    def asked(self) -> TaskList:
        """The page that is wanted."""
        view = self.view
        return TaskList(view.wanted, view.order, view.starts[-1], self._kept)

    def questions(self) -> Iterable[Question[Any]]:
        """The page; the number of all, where neither the page nor the counts that are kept tell it."""
        yield self.asked
        wanted = self.view.wanted
        if self._plain or self.complete:
            return
        if self._counts.get(wanted, 0) is not None:
            yield Matching(wanted)

    @property
    def _plain(self) -> bool:
        """Whether only statuses are asked for, of which counts are kept."""
        wanted = self.view.wanted
        return wanted == TaskFilter(statuses=wanted.statuses)

    # -- what is known

    @property
    def arrived(self) -> bool:
        """Whether what is shown is the page that is wanted."""
        return self._shown == self.asked

    @property
    def complete(self) -> bool:
        """Whether all that match are shown."""
        return self.page is not None and self.page.next is None and self.view.at_top

    def total(self, kept: StatusCounts | None) -> int | None:
        """How many match, exactly; None where that is not known.

        Args:
            kept: The counts that are kept, where they are known.
        """
        if self.complete:
            return len(self.tasks)
        wanted = self.view.wanted
        if self._plain and kept is not None:
            each: list[int] = [getattr(kept, status) for status in wanted.statuses or STATUSES]
            return sum(each)
        return self._counts.get(wanted)

    def counted(self, wanted: TaskFilter, number: int | None) -> None:
        """So many match; None: that takes too long to be asked again."""
        self._counts = {wanted: number}

    def show(self, asked: TaskList, page: TaskPage) -> bool:
        """Show a page.

        Returns:
            Whether `questions` are others now.
        """
        complete = self.complete
        tasks: Sequence[TaskRow] = page.tasks
        if asked == self._shown and not self.following:
            tasks = in_place([task.id for task in self.tasks], tasks)[:MOST]
        self.tasks, self.page, self._shown = tasks, page, asked
        if self.following:
            self._kept.ids = ()
            return complete != self.complete
        return self._hold() or complete != self.complete

    # -- moving

    def go(self, view: TaskView) -> None:
        """Another place is wanted."""
        self.view, self.following = view, view.at_top
        self._kept = Kept()

    def page_from_here(self, by: int) -> TaskView | None:
        """The next page, or for less than 0 the one before; None where there is none that is known."""
        if by > 0 and self.page is not None and self.page.next is not None and self.arrived:
            return self.view.next(self.page.next)
        return self.view.previous() if by < 0 and self.view.page > 1 else None

    def hold(self) -> bool:
        """What is seen stays.

        Returns:
            Whether `questions` are others now.
        """
        self.following = False
        return self._hold()

    def _hold(self) -> bool:
        """Keep what is shown, and leave out what comes before a first page that others follow.

        It would wash away what is seen.
        """
        self._kept.ids = [task.id for task in self.tasks]
        page, view = self.page, self.view
        if page is None or page.next is None or not view.at_top or not self.arrived:
            return False
        self.view = view.pin(page.tasks[0])
        if self.view == view:
            return False
        self._shown = self.asked
        return True

    def drop_other(self) -> bool:
        """Show nothing, if what is shown is of another filter than what is wanted.

        Returns:
            Whether it was.
        """
        if self._shown is None or self._shown.wanted == self.view.wanted:
            return False
        self.tasks, self.page, self._shown = (), None, None
        return True


def in_place(before: Sequence[UUID], tasks: Sequence[TaskRow]) -> list[TaskRow]:
    """Tasks in their order, but those that were shown keep theirs: no row changes places with another.

    Args:
        before: Ids that were shown, top to bottom.
        tasks: As they are now.
    """
    known = {task.id: task for task in tasks}
    old = iter([known[task] for task in before if task in known])
    shown = set(before)
    return [next(old) if task.id in shown else task for task in tasks]
