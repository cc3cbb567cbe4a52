"""A request from the console: an action, its tasks, and the confirmation it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from uuid import UUID

from embedq_tui.rendering.words import count
from embedq_worker.actions.tasks import (
    CANCEL,
    CANCEL_FAILED,
    PRIORITISE,
    RELEASE,
    RETRY,
    RETRY_WAITING,
    Action,
    Plan,
)
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.schema.task_values import CANCELLED, Priority
from embedq_worker.text import printable_line

NAMED = 5
"""Number of tasks that a question lists by name."""


class Safeguard(Enum):
    """The confirmation that a request needs."""

    NONE = auto()
    """None: it is carried out at once."""
    CONFIRM = auto()
    """Yes or no."""
    TYPE_NUMBER = auto()
    """The operator has to type the number of tasks."""


@dataclass(frozen=True, slots=True)
class Request:
    """An action requested by the operator.

    Attributes:
        action: What to do.
        wanted: To which tasks.
        verb: For the question and its button: ``Retry``.
        safeguard: The confirmation needed.
        scope: The tasks in words: ``stuck tasks of 2 workers``; empty for the filter's own words.
        undoable: The console can undo it.
        names: Names of individual tasks as shown on the screen.
    """

    action: Action
    wanted: TaskFilter
    verb: str
    safeguard: Safeguard
    scope: str = ""
    undoable: bool = False
    names: Mapping[UUID, str] = field(default_factory=dict, compare=False)


def retry(
    wanted: TaskFilter,
    *,
    scope: str = "",
    names: Mapping[UUID, str] | None = None,
    in_view: bool = True,
) -> Request:
    """Retry failed tasks; a single one without asking, if the operator sees which.

    Args:
        wanted: Which; only failed ones are affected.
        scope: See `Request.scope`.
        names: See `Request.names`.
        in_view: Whether selected tasks are on the screen.
    """
    safeguard = Safeguard.NONE if _is_one(wanted) and in_view else Safeguard.CONFIRM
    return Request(RETRY, wanted, "Retry", safeguard, scope, names=names or {})


def retry_waiting(
    wanted: TaskFilter,
    *,
    scope: str = "",
    names: Mapping[UUID, str] | None = None,
    in_view: bool = True,
) -> Request:
    """Retry pending tasks that are not due yet.

    Args:
        wanted: Which; only those are affected.
        scope: See `Request.scope`.
        names: See `Request.names`.
        in_view: See `retry`.
    """
    scope = scope or f"{wanted.only(*RETRY_WAITING.statuses).describe()} that are not due yet"
    return replace(retry(wanted, scope=scope, names=names, in_view=in_view), action=RETRY_WAITING)


def cancel(wanted: TaskFilter, *, scope: str = "", names: Mapping[UUID, str] | None = None) -> Request:
    """Cancel pending or claimed tasks; cancelling by filter always requires typing the number.

    Args:
        wanted: Which.
        scope: See `Request.scope`.
        names: See `Request.names`.
    """
    safeguard = Safeguard.TYPE_NUMBER if wanted.ids is None else Safeguard.CONFIRM
    return Request(CANCEL, wanted, "Cancel", safeguard, scope, undoable=True, names=names or {})


def give_up(wanted: TaskFilter, *, scope: str = "", names: Mapping[UUID, str] | None = None) -> Request:
    """Cancel failed tasks, so that they leave their failure group.

    Args:
        wanted: Which; only failed ones are affected.
        scope: See `Request.scope`.
        names: See `Request.names`.
    """
    return replace(cancel(wanted, scope=scope, names=names), action=CANCEL_FAILED)


def reset(wanted: TaskFilter, *, scope: str = "", names: Mapping[UUID, str] | None = None) -> Request:
    """Return claimed tasks to the queue.

    Args:
        wanted: Which.
        scope: See `Request.scope`.
        names: See `Request.names`.
    """
    return Request(RELEASE, wanted, "Reset", Safeguard.CONFIRM, scope, names=names or {})


def prioritise(
    wanted: TaskFilter,
    priority: Priority,
    *,
    scope: str = "",
    names: Mapping[UUID, str] | None = None,
) -> Request:
    """Change the priority of pending tasks.

    Args:
        wanted: Which.
        priority: Their new one.
        scope: See `Request.scope`.
        names: See `Request.names`.
    """
    safeguard = Safeguard.NONE if _is_one(wanted) else Safeguard.CONFIRM
    verb = f"Set priority {priority} on"
    return Request(PRIORITISE[priority], wanted, verb, safeguard, scope, undoable=True, names=names or {})


def _is_one(wanted: TaskFilter) -> bool:
    return wanted.ids is not None and len(wanted.ids) == 1


@dataclass(frozen=True, slots=True)
class Counted:
    """A request whose tasks are counted.

    Attributes:
        planned: The plan of the action.
        in_hand: Tasks held by workers, if the others are pending.
        samples: Names of some of its tasks.
    """

    planned: Plan
    in_hand: int = 0
    samples: Sequence[str] = ()

    @property
    def matched(self) -> int:
        """How many tasks are affected."""
        return self.planned.matched


def subject(request: Request, planned: Plan) -> str:
    """The tasks in words, with their number: ``37 stuck tasks of 2 workers``."""
    words = request.scope or planned.wanted.describe()
    if planned.matched == 1:
        words = words.replace("tasks", "task", 1)
    return f"{planned.matched:,} {printable_line(words, 300)}"


def question(request: Request, counted: Counted) -> str:
    """The question: ``Reset 37 stuck tasks of 2 workers?``."""
    return f"{request.verb} {subject(request, counted.planned)}?"


def consequences(request: Request, counted: Counted) -> list[str]:
    """What the operator should know before answering, one line each."""
    planned = counted.planned
    lines = []
    if counted.in_hand:
        waiting = planned.matched - counted.in_hand
        lines.append(f"{waiting:,} pending, {counted.in_hand:,} held by workers")
    if counted.samples:
        more = planned.matched - len(counted.samples)
        names = ", ".join(printable_line(name, 60) for name in counted.samples)
        lines.append(f"{names}{f' and {more:,} more' if more > 0 else ''}")
    if request.wanted.ids is not None and (apart := len(set(request.wanted.ids)) - planned.matched) > 0:
        lines.append(
            f"{count(apart, 'selected task')} cannot be {planned.action.done} and will be left alone."
        )
    lines.append(_EFFECTS.get(planned.action, ""))
    lines.append(
        "You can undo this, except for tasks that change in the meantime."
        if request.undoable
        else "This cannot be undone."
    )
    return [line for line in lines if line]


_EFFECTS = {
    RETRY: "They start from scratch: zero attempts, due now.",
    RETRY_WAITING: "They start from scratch: zero attempts, due now.",
    CANCEL: f'They are kept as failed, "{CANCELLED}". Work in progress on them is discarded.',
    CANCEL_FAILED: f'They are kept as failed, "{CANCELLED}"; their errors stay in the audit log.',
    RELEASE: "They become pending again; no attempt is counted. Late writes by their workers are rejected.",
}
