"""The list of tasks as the operator sees it: a page whose rows stay in place while the data changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any
from uuid import UUID

from embedq_tui.live.questions import Question
from embedq_tui.screens.paging import Pages, View
from embedq_tui.screens.tasks.questions import PAGE, Kept, Matching, TaskList
from embedq_worker.insights.overview import StatusCounts
from embedq_worker.insights.tasks import TaskPage, TaskRow
from embedq_worker.queue.selection import Cursor, Order, in_order_of_claims
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.schema.task_values import STATUSES, rank_of

MOST = 2 * PAGE
"""Maximum number of rows."""


@dataclass(frozen=True, slots=True)
class TaskView(View[TaskFilter, Cursor]):
    """A position in the list of tasks, whose first page can be pinned.

    Attributes:
        claimed: Sort pending tasks in the order they will be claimed, instead of by time.
    """

    wanted: TaskFilter = field(default_factory=TaskFilter)
    claimed: bool = False

    @property
    def order(self) -> Order:
        """The sort order."""
        return "next" if self.claimed else self.direction

    def filtered(self, wanted: TaskFilter) -> TaskView:
        """Another filter in the same order, if that order applies to it; otherwise by time."""
        return replace(self.first(), wanted=wanted, claimed=self.claimed and _waiting(wanted))

    def turned(self) -> TaskView:
        """The next order; pending tasks have a third one."""
        claimed = self.order == "oldest" and _waiting(self.wanted)
        return replace(
            self.first(), claimed=claimed, direction="oldest" if self.order == "newest" else "newest"
        )

    @property
    def at_top(self) -> bool:
        """Whether it is the first page, including new arrivals."""
        return self.starts == (None,)

    @property
    def pinned(self) -> bool:
        """Whether new arrivals above the first page are left out, so that its rows stay in place."""
        return self.starts[0] is not None

    def pin(self, first: TaskRow) -> TaskView:
        """The first page, starting at this task."""
        if first.at is None:  # without a time, nothing tells it from what comes before
            return self
        beyond = UUID(int=2**128 - 1 if self.order == "newest" else 0)
        rank = rank_of(first.priority) if self.claimed else None
        return replace(self, starts=(Cursor(first.at, beyond, rank),))


def _waiting(wanted: TaskFilter) -> bool:
    return wanted.statuses == ("pending",) and in_order_of_claims(wanted)


class Listing(Pages[TaskView, TaskPage]):
    """The tasks shown, and the questions needed to show them.

    The list either follows new arrivals or is held. While held, a task leaves only when it no longer matches,
    and newer tasks of a list of several pages wait above.

    Attributes:
        tasks: The tasks shown, top to bottom.
        following: New arrivals are shown.
    """

    def __init__(self) -> None:
        super().__init__(
            TaskView(), lambda view: TaskList(view.wanted, view.order, view.starts[-1], self._kept)
        )
        self.tasks: Sequence[TaskRow] = ()
        self.following = True
        self._kept = Kept()
        self._counts: dict[TaskFilter, int | None] = {}

    # -- asking

    def questions(self) -> Iterable[Question[Any]]:
        """The page; and the total, if neither the page nor the stored counts give it."""
        yield self.asked
        wanted = self.view.wanted
        if not (self._plain or self.complete) and self._counts.get(wanted, 0) is not None:
            yield Matching(wanted)

    @property
    def _plain(self) -> bool:
        """Whether the filter is by status only, for which counts are stored."""
        wanted = self.view.wanted
        return wanted == TaskFilter(statuses=wanted.statuses)

    # -- the current state

    @property
    def complete(self) -> bool:
        """Whether all matching tasks are shown."""
        return self.page is not None and self.next is None and self.view.at_top

    def total(self, kept: StatusCounts | None) -> int | None:
        """The exact number of matches; None if unknown.

        Args:
            kept: The stored counts, if known.
        """
        if self.complete:
            return len(self.tasks)
        wanted = self.view.wanted
        if self._plain and kept is not None:
            each: list[int] = [getattr(kept, status) for status in wanted.statuses or STATUSES]
            return sum(each)
        return self._counts.get(wanted)

    def counted(self, wanted: TaskFilter, number: int | None) -> None:
        """Note the number of matches; None if counting takes too long to repeat."""
        self._counts = {wanted: number}

    def show(self, asked: TaskList, page: TaskPage) -> bool:
        """Show a page.

        Returns:
            Whether `questions` changed.
        """
        complete = self.complete
        tasks: Sequence[TaskRow] = page.tasks
        if asked == self.shown and not self.following:
            tasks = in_place([task.id for task in self.tasks], tasks)
        self.tasks, self.page, self.shown = tasks, page, asked
        if self.following:
            self._kept.ids = ()
            return complete != self.complete
        return self._hold() or complete != self.complete

    # -- moving

    def go(self, view: TaskView) -> None:
        """Go to another position."""
        self.view, self.following = view, view.at_top
        self._kept = Kept()

    def hold(self) -> bool:
        """Keep the rows that are shown.

        Returns:
            Whether `questions` changed.
        """
        self.following = False
        return self._hold()

    def _hold(self) -> bool:
        """Keep the rows that are shown, and pin the first page if more follow.

        Otherwise new arrivals would push out what the operator is looking at.
        """
        self._kept.ids = [task.id for task in self.tasks]
        page, view = self.page, self.view
        if page is None or page.next is None or not view.at_top or not self.arrived:
            return False
        self.view = view.pin(page.tasks[0])
        if self.view == view:
            return False
        self.shown = self.asked
        return True

    def drop_other(self) -> bool:
        """Clear the list if it still shows another filter's tasks.

        Returns:
            Whether it did.
        """
        if not isinstance(self.shown, TaskList) or self.shown.wanted == self.view.wanted:
            return False
        self.tasks, self.page, self.shown = (), None, None
        return True


def in_place(before: Sequence[UUID], tasks: Sequence[TaskRow]) -> list[TaskRow]:
    """Sort tasks, but keep those already shown in their relative order: no two rows swap places.

    Args:
        before: Ids already shown, top to bottom.
        tasks: The tasks as they are now; what does not fit is left out, of those not shown yet.
    """
    known = {task.id: task for task in tasks}
    old = iter([known[task] for task in before if task in known])
    shown = set(before)
    room = max(MOST - len(shown & known.keys()), 0)
    new = {task.id for task in islice((task for task in tasks if task.id not in shown), room)}
    return [next(old) if task.id in shown else task for task in tasks if task.id in shown | new]
