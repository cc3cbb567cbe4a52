"""What an operator of the console can do to tasks, and how much is asked before it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from uuid import UUID

from embedq_tui.output import count
from embedq_worker.actions.tasks import CANCEL, CANCELLED, PRIORITISE, RELEASE, RETRY, Action, Plan
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.text import printable_line

NAMED = 5
"""Tasks that a question names."""


class Grade(IntEnum):
    """How much is asked before something is done."""

    PLAIN = 0
    """Nothing."""
    ASK = 1
    """Yes or no."""
    SWEEP = 2
    """The number of tasks has to be typed."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something to be done to tasks.

    Attributes:
        action: What.
        wanted: To which tasks.
        verb: For the question and its button: ``Retry``.
        grade: How much is asked.
        scope: The tasks in words after their number: ``stuck tasks of 2 workers``; by default the filter's.
        undoable: The console can take it back.
        names: What the tasks that are named are called on the screen.
    """

    action: Action
    wanted: TaskFilter
    verb: str
    grade: Grade
    scope: str = ""
    undoable: bool = False
    names: Mapping[UUID, str] = field(default_factory=dict, compare=False)


def retry(
    wanted: TaskFilter, *, sure: bool = False, scope: str = "", names: Mapping[UUID, str] | None = None
) -> Deed:
    """Retry failed tasks.

    Args:
        wanted: Which; others than failed ones are left out.
        sure: The operator said so (shift): nothing is asked.
        scope: See `Deed.scope`.
        names: See `Deed.names`.
    """
    grade = Grade.PLAIN if sure or _is_one(wanted) else Grade.ASK
    return Deed(RETRY, wanted, "Retry", grade, scope, names=names or {})


def cancel(
    wanted: TaskFilter, *, sure: bool = False, scope: str = "", names: Mapping[UUID, str] | None = None
) -> Deed:
    """Cancel tasks that are waiting or in hand; all that match a filter are never cancelled unasked.

    Args:
        wanted: Which.
        sure: The operator said so (shift).
        scope: See `Deed.scope`.
        names: See `Deed.names`.
    """
    grade = Grade.SWEEP if wanted.ids is None else Grade.PLAIN if sure else Grade.ASK
    return Deed(CANCEL, wanted, "Cancel", grade, scope, undoable=True, names=names or {})


def reset(
    wanted: TaskFilter, *, sure: bool = False, scope: str = "", names: Mapping[UUID, str] | None = None
) -> Deed:
    """Put tasks in hand back into the queue.

    Args:
        wanted: Which.
        sure: The operator said so (shift): nothing is asked.
        scope: See `Deed.scope`.
        names: See `Deed.names`.
    """
    return Deed(RELEASE, wanted, "Reset", Grade.PLAIN if sure else Grade.ASK, scope, names=names or {})


def prioritise(
    wanted: TaskFilter,
    priority: str,
    *,
    sure: bool = False,
    scope: str = "",
    names: Mapping[UUID, str] | None = None,
) -> Deed:
    """Give waiting tasks another priority.

    Args:
        wanted: Which.
        priority: ``high``, ``normal``, ``low``.
        sure: The operator said so (shift): nothing is asked.
        scope: See `Deed.scope`.
        names: See `Deed.names`.
    """
    grade = Grade.PLAIN if sure or _is_one(wanted) else Grade.ASK
    verb = f"Give priority {priority} to"
    return Deed(PRIORITISE[priority], wanted, verb, grade, scope, undoable=True, names=names or {})


def _is_one(wanted: TaskFilter) -> bool:
    return wanted.ids is not None and len(wanted.ids) == 1


@dataclass(frozen=True, slots=True)
class Counted:
    """A deed whose tasks are counted.

    Attributes:
        planned: Of the action.
        in_hand: Of its tasks, in the hands of workers, where others are not.
        samples: Names of some of its tasks.
    """

    planned: Plan
    in_hand: int = 0
    samples: Sequence[str] = ()

    @property
    def matched(self) -> int:
        """How many tasks there are."""
        return self.planned.matched


def subject(deed: Deed, planned: Plan) -> str:
    """The tasks in words, with their number: ``37 stuck tasks of 2 workers``."""
    words = deed.scope or planned.wanted.describe()
    if planned.matched == 1:
        words = words.replace("tasks", "task", 1)
    return f"{planned.matched:,} {printable_line(words, 300)}"


def question(deed: Deed, counted: Counted) -> str:
    """What is asked: ``Reset 37 stuck tasks of 2 workers?``."""
    return f"{deed.verb} {subject(deed, counted.planned)}?"


def consequences(deed: Deed, counted: Counted) -> list[str]:
    """What the operator should know before the answer, a line each."""
    planned = counted.planned
    lines = []
    if counted.in_hand:
        waiting = planned.matched - counted.in_hand
        lines.append(f"{waiting:,} waiting, {counted.in_hand:,} in the hands of workers")
    if counted.samples:
        more = planned.matched - len(counted.samples)
        names = ", ".join(printable_line(name, 60) for name in counted.samples)
        lines.append(f"{names}{f' and {more:,} more' if more > 0 else ''}")
    if deed.wanted.ids is not None and (apart := len(set(deed.wanted.ids)) - planned.matched) > 0:
        lines.append(
            f"{count(apart, 'task')} of those named cannot be {planned.action.done} and stay as they are."
        )
    lines.append(_EFFECTS.get(planned.action.name, ""))
    lines.append(
        "It can be undone, for tasks that nothing else happens to meanwhile."
        if deed.undoable
        else "It cannot be undone."
    )
    return [line for line in lines if line]


_EFFECTS = {
    RETRY.name: "They start afresh: attempts count from 0, due now.",
    CANCEL.name: f'They stay, as failed with "{CANCELLED}". What a worker does for them is thrown away.',
    RELEASE.name: "They wait again; no attempt is charged. What whoever holds one writes of it is refused.",
}
