"""Screens that act on tasks: one thing at a time, and where nothing may be changed they say why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import events, work

from embedq_tui.deeds import Deed
from embedq_tui.screens.base import ConsoleScreen
from embedq_worker.actions import Outcome
from embedq_worker.errors import EmbedqError
from embedq_worker.text import printable


class ActingScreen(ConsoleScreen):
    """A screen that acts on tasks.

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

    def acted(self, outcome: Outcome) -> None:
        """Something was done, or begun and stopped."""

    # -- what it can use

    @work(group="act", exit_on_error=False)
    async def carry_out(self, deed: Deed | Callable[[], Awaitable[Deed]]) -> None:
        """Do something to tasks; not while something else is being done.

        Args:
            deed: What; or how it is found out, which may ask the database.
        """
        if self._acting:
            return
        self._acting = True
        try:
            outcome = await self.console.actor.act(deed if isinstance(deed, Deed) else await deed())
            if outcome is not None and self.is_mounted:
                self.acted(outcome)
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
            self.console.actor.refused()
