"""What is asked for at the console: an action, for which tasks, and what is asked before it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from uuid import UUID

from embedq_tui.output import count
from embedq_worker.actions.tasks import (
    CANCEL,
    CANCEL_FAILED,
    CANCELLED,
    PRIORITISE,
    RELEASE,
    RETRY,
    Action,
    Plan,
)
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.text import printable_line

NAMED = 5
"""Tasks that a question names."""


class Safeguard(Enum):
    """What stands between a request and its execution."""

    NONE = auto()
    """Nothing: it is carried out at once."""
    CONFIRM = auto()
    """Yes or no."""
    TYPE_NUMBER = auto()
    """The number of tasks has to be typed."""


@dataclass(frozen=True, slots=True)
class Request:
    """An action that an operator asks for.

    Attributes:
        action: What is to be done.
        wanted: To which tasks.
        verb: For the question and its button: ``Retry``.
        safeguard: How much is asked before.
        scope: The tasks in words after their number: ``stuck tasks of 2 workers``; by default the filter's.
        undoable: The console can take it back.
        names: What the tasks that are named are called on the screen.
    """

    action: Action
    wanted: TaskFilter
    verb: str
    safeguard: Safeguard
    scope: str = ""
    undoable: bool = False
    names: Mapping[UUID, str] = field(default_factory=dict, compare=False)


def retry(wanted: TaskFilter, *, scope: str = "", names: Mapping[UUID, str] | None = None) -> Request:
    """Retry failed tasks.

    Args:
        wanted: Which; others than failed ones are left out.
        scope: See `Request.scope`.
        names: See `Request.names`.
    """
    safeguard = Safeguard.NONE if _is_one(wanted) else Safeguard.CONFIRM
    return Request(RETRY, wanted, "Retry", safeguard, scope, names=names or {})


def cancel(wanted: TaskFilter, *, scope: str = "", names: Mapping[UUID, str] | None = None) -> Request:
    """Cancel tasks that are waiting or in hand; all that match a filter are never cancelled unasked.

    Args:
        wanted: Which.
        scope: See `Request.scope`.
        names: See `Request.names`.
    """
    safeguard = Safeguard.TYPE_NUMBER if wanted.ids is None else Safeguard.CONFIRM
    return Request(CANCEL, wanted, "Cancel", safeguard, scope, undoable=True, names=names or {})


def give_up(wanted: TaskFilter, *, scope: str = "", names: Mapping[UUID, str] | None = None) -> Request:
    """Cancel failed tasks, so that they leave the group of their error.

    Args:
        wanted: Which; others than failed ones are left out.
        scope: See `Request.scope`.
        names: See `Request.names`.
    """
    return replace(cancel(wanted, scope=scope, names=names), action=CANCEL_FAILED)


def reset(wanted: TaskFilter, *, scope: str = "", names: Mapping[UUID, str] | None = None) -> Request:
    """Put tasks in hand back into the queue.

    Args:
        wanted: Which.
        scope: See `Request.scope`.
        names: See `Request.names`.
    """
    return Request(RELEASE, wanted, "Reset", Safeguard.CONFIRM, scope, names=names or {})


def prioritise(
    wanted: TaskFilter,
    priority: str,
    *,
    scope: str = "",
    names: Mapping[UUID, str] | None = None,
) -> Request:
    """Give waiting tasks another priority.

    Args:
        wanted: Which.
        priority: ``high``, ``normal``, ``low``.
        scope: See `Request.scope`.
        names: See `Request.names`.
    """
    safeguard = Safeguard.NONE if _is_one(wanted) else Safeguard.CONFIRM
    verb = f"Give priority {priority} to"
    return Request(PRIORITISE[priority], wanted, verb, safeguard, scope, undoable=True, names=names or {})


def _is_one(wanted: TaskFilter) -> bool:
    return wanted.ids is not None and len(wanted.ids) == 1


@dataclass(frozen=True, slots=True)
class Counted:
    """A request whose tasks are counted.

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


def subject(request: Request, planned: Plan) -> str:
    """The tasks in words, with their number: ``37 stuck tasks of 2 workers``."""
    words = request.scope or planned.wanted.describe()
    if planned.matched == 1:
        words = words.replace("tasks", "task", 1)
    return f"{planned.matched:,} {printable_line(words, 300)}"


def question(request: Request, counted: Counted) -> str:
    """What is asked: ``Reset 37 stuck tasks of 2 workers?``."""
    return f"{request.verb} {subject(request, counted.planned)}?"


def consequences(request: Request, counted: Counted) -> list[str]:
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
    if request.wanted.ids is not None and (apart := len(set(request.wanted.ids)) - planned.matched) > 0:
        lines.append(
            f"{count(apart, 'task')} of those named cannot be {planned.action.done} and stay as they are."
        )
    lines.append(_EFFECTS.get(planned.action, ""))
    lines.append(
        "It can be undone, for tasks that nothing else happens to meanwhile."
        if request.undoable
        else "It cannot be undone."
    )
    return [line for line in lines if line]


_EFFECTS = {
    RETRY: "They start afresh: attempts count from 0, due now.",
    CANCEL: f'They stay, as failed with "{CANCELLED}". What a worker does for them is thrown away.',
    CANCEL_FAILED: f'They stay, as failed with "{CANCELLED}"; their errors are in the audit log.',
    RELEASE: "They wait again; no attempt is charged. What whoever holds one writes of it is refused.",
}
