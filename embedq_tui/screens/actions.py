"""Screens that change data: one action at a time; in read-only mode they say why it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

from textual import events, work
from textual.binding import Binding

from embedq_tui.desk import Desk
from embedq_tui.execution.request import Request
from embedq_tui.rendering.words import count
from embedq_tui.screens.base import ConsoleScreen
from embedq_worker.actions.tasks import Outcome


class Change(Binding):
    """A key whose action changes data: refused in read-only mode, and offered only if it can do anything."""


class ActionScreen(ConsoleScreen):
    """A screen that changes data, by the actions of its keys that are a `Change`.

    Attributes:
        changes: Names of these actions.
        IN_TURN: An action waits for the one before it; otherwise one that comes too early is dropped.
    """

    changes: ClassVar[frozenset[str]] = frozenset()
    IN_TURN: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # From here, as Textual copies them into bindings of its own class.
        bindings = [one for base in cls.__mro__ for one in vars(base).get("BINDINGS", ())]
        cls.changes = frozenset(_name(one.action) for one in bindings if isinstance(one, Change))

    def __init__(self) -> None:
        super().__init__()
        self._one_at_a_time = asyncio.Lock()

    # -- for subclasses to override

    def can_act(self, action: str) -> bool:
        """Whether there is anything that one of `changes` could act on."""
        return True

    def settled(self) -> bool:
        """Whether the selection has been on screen long enough for the operator to have seen it."""
        return True

    def acted(self, outcome: Outcome) -> None:
        """React to the outcome of a request, complete or not."""

    # -- for subclasses to use

    @work(group="act", exit_on_error=False)
    async def alone(self, act: Callable[[Desk], Awaitable[object]]) -> None:
        """Run an action while no other one is running, see `IN_TURN`.

        Args:
            act: Carries it out and reports the outcome.
        """
        if self._one_at_a_time.locked() and not self.IN_TURN:
            return
        async with self._one_at_a_time:
            with self.desk.dialogs.telling("Not done"):
                await act(self.desk)
                self.session.again()

    def is_meant(self) -> bool:
        """Whether the selection is what the operator saw when pressing the key; if not, says so."""
        if self.settled():
            return True
        self.notify(
            "Nothing was done: the row under the cursor has only just come. Press the key again", markup=False
        )
        return False

    def carry_out(self, request: Request | Callable[[], Awaitable[Request]]) -> None:
        """Carry out a request.

        Args:
            request: The request, or a coroutine function that builds it, perhaps by asking the database.
        """

        async def act(desk: Desk) -> None:
            found = request if isinstance(request, Request) else await request()
            outcome = await desk.executor.carry_out(found)
            if outcome is not None and self.alive:
                self.acted(outcome)

        self.alone(act)

    def ids_to_clipboard(self, ids: Sequence[str]) -> None:
        """Copy ids of tasks, one per line, and say so.

        Args:
            ids: At least one.
        """
        self.to_clipboard("\n".join(ids), ids[0] if len(ids) == 1 else count(len(ids), "id"))

    # -- wiring

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer a change if there is something to change; grey it out if read-only, and before rows come."""
        if action in self.changes:
            if not self.can_act(action):
                return None if self.alive and not self.settled() else False
            return None if self.session.read_only else True
        return super().check_action(action, parameters)

    def on_key(self, event: events.Key) -> None:
        """Say why changes are refused here, or do nothing yet."""
        active = self.active_bindings.get(event.key)
        greyed = active is not None and not active.enabled and _name(active.binding.action) in self.changes
        if greyed and not self.desk.dialogs.refused():
            self.is_meant()  # which says so


def _name(action: str) -> str:
    """The name of an action that may have parameters: ``pace(1)``."""
    return action.partition("(")[0]
