"""Screens that change something: one thing at a time, and where nothing may be changed they say why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar

from textual import events, work

from embedq_tui.execution.request import Request
from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_worker.actions.tasks import Outcome
from embedq_worker.errors import EmbedqError
from embedq_worker.text import printable

if TYPE_CHECKING:
    from embedq_tui.console.app import Console


class ActionScreen(ConsoleScreen):
    """A screen that changes something.

    Attributes:
        CHANGES: Names of its actions that change something.
    """

    CHANGES: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        super().__init__()
        self._one_at_a_time = asyncio.Lock()

    # -- what a screen of its own overrides

    def can_act(self, action: str) -> bool:
        """Whether there is something to which one of `CHANGES` could be done."""
        return True

    # -- what it can use

    @work(group="act", exit_on_error=False)
    async def alone(self, act: Callable[[Console], Awaitable[object]], *, in_turn: bool = False) -> None:
        """Do something; not while something else is being done.

        Args:
            act: Does it, and tells what came of it.
            in_turn: Do it after that; else it is not done.
        """
        if self._one_at_a_time.locked() and not in_turn:
            return
        async with self._one_at_a_time:
            try:
                await act(self.console)
                self.session.again()
            except EmbedqError as error:
                self.notify(printable(str(error)), severity="error", markup=False)

    # -- wiring

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What changes something is offered where it can be done, and shown as refused where it may not."""
        if action in self.CHANGES:
            return (None if self.session.read_only else True) if self.can_act(action) else False
        return super().check_action(action, parameters)

    def on_key(self, event: events.Key) -> None:
        """Say why nothing may be changed here."""
        active = self.active_bindings.get(event.key)
        if active is not None and not active.enabled and active.binding.action in self.CHANGES:
            self.console.dialogs.refused()


class RequestingScreen(ActionScreen):
    """A screen that asks for actions on tasks.

    Attributes:
        IN_TURN: Requests are carried out one after the other; else one that comes too early is dropped.
    """

    IN_TURN: ClassVar[bool] = False

    # -- what a screen of its own overrides

    def settled(self) -> bool:
        """Whether the operator has seen what is chosen when a key is pressed."""
        return True

    def acted(self, outcome: Outcome) -> None:
        """Something was done, or begun and stopped."""

    # -- what it can use

    def is_meant(self) -> bool:
        """Whether what is chosen is what the key was pressed for; tells where it is not."""
        if self.settled():
            return True
        self.notify("The row under the cursor changed this moment: nothing was done", markup=False)
        return False

    def carry_out(self, request: Request | Callable[[], Awaitable[Request]]) -> None:
        """Carry out a request.

        Args:
            request: What is asked for; or how it is found out, which may ask the database.
        """

        async def act(console: Console) -> None:
            found = request if isinstance(request, Request) else await request()
            outcome = await console.executor.carry_out(found)
            if outcome is not None and self.alive:
                self.acted(outcome)

        self.alone(act, in_turn=self.IN_TURN)


class TaskTableScreen(RequestingScreen):
    """A screen with one table, whose rows stand for tasks that can be acted on."""

    def __init__(self) -> None:
        super().__init__()
        self._offered: tuple[object, ...] = ()

    @property
    def table(self) -> KeyedTable:
        """The table."""
        return self.query_one(KeyedTable)

    def settled(self) -> bool:
        """Whether the row under the cursor has been there for a moment."""
        return self.table.settled

    def offer(self, *state: object) -> None:
        """Offer what can be done now, where that may have changed: the footer is made anew each time.

        Args:
            state: What it depends on, but for the right to change something.
        """
        if (offered := (*state, self.session.read_only)) != self._offered:
            self._offered = offered
            self.refresh_bindings()
