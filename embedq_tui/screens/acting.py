"""Screens that act on tasks: one thing at a time, and where nothing may be changed they say why."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import events, work

from embedq_tui.console.request import Request
from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.widgets.keyed_table import KeyedTable, Row
from embedq_worker.actions.tasks import Outcome
from embedq_worker.errors import EmbedqError
from embedq_worker.text import printable

if TYPE_CHECKING:
    from embedq_tui.console.app import Console

SETTLE_S = 0.4
"""Seconds that a row has to be under the cursor before a key is believed to mean it."""

JUST_CHANGED = "The row under the cursor changed this moment: nothing was done"


class ChangingScreen(ConsoleScreen):
    """A screen that changes something: one thing at a time; where it may not, it says why.

    Attributes:
        CHANGES: Names of its actions that change something.
    """

    CHANGES: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        super().__init__()
        self._acting = False

    # -- what a screen of its own overrides

    def can_act(self, action: str) -> bool:
        """Whether there is something to which one of `CHANGES` could be done."""
        return True

    # -- what it can use

    @work(group="act", exit_on_error=False)
    async def alone(self, act: Callable[[Console], Awaitable[object]]) -> None:
        """Do something; not while something else is being done.

        Args:
            act: Does it, and tells what came of it.
        """
        if self._acting:
            return
        self._acting = True
        try:
            await act(self.console)
            self.session.again()
        except EmbedqError as error:
            self.notify(printable(str(error)), severity="error", markup=False)
        finally:
            self._acting = False

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


class ActingScreen(ChangingScreen):
    """A screen that acts on tasks, which a table lists."""

    def __init__(self) -> None:
        super().__init__()
        self._jumped_at = -SETTLE_S
        self._offered: tuple[object, ...] = ()

    # -- what a screen of its own overrides

    def acted(self, outcome: Outcome) -> None:
        """Something was done, or begun and stopped."""

    # -- what it can use

    @property
    def table(self) -> KeyedTable:
        """The table."""
        return self.query_one(KeyedTable)

    def show_rows(self, rows: Iterable[Row]) -> None:
        """Show rows; where the one under the cursor went away, the operator has not seen the next one yet."""
        before = self.table.current
        self.table.show(rows)
        if before not in (None, self.table.current):
            self._jumped_at = time.monotonic()

    def offer(self, *state: object) -> None:
        """Offer what can be done now, where that may have changed: the footer is made anew each time.

        Args:
            state: What it depends on, but for the right to change something.
        """
        if (offered := (*state, self.session.read_only)) != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def settled(self) -> bool:
        """Whether what is chosen is what the operator saw when the key was pressed; tells where it is not."""
        if self.table.marked or time.monotonic() - self._jumped_at >= SETTLE_S:
            return True
        self.notify(JUST_CHANGED, markup=False)
        return False

    def execute(self, request: Request | Callable[[], Awaitable[Request]]) -> None:
        """Do something to tasks; not while something else is being done.

        Args:
            request: What; or how it is found out, which may ask the database.
        """

        async def act(console: Console) -> None:
            outcome = await console.executor.execute(
                request if isinstance(request, Request) else await request()
            )
            if outcome is not None and self.alive:
                self.acted(outcome)

        self.alone(act)
