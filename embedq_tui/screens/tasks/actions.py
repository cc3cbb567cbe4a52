"""What can be done to tasks that are named, wherever they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from textual import work
from textual.binding import Binding, BindingType

from embedq_tui.dialogs.choose import Choice, ask_choice
from embedq_tui.execution.request import cancel, give_up, prioritise, retry
from embedq_tui.output import count
from embedq_tui.screens.actions import RequestingScreen
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.queue.words import PRIORITIES


class TaskActions(RequestingScreen):
    """A screen that shows tasks and acts on those that are chosen."""

    IN_TURN = True
    CHANGES = frozenset({"retry", "cancel", "priority"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "retry", "Retry", id="tasks.retry", tooltip="Retry the failed ones of the chosen tasks"),
        Binding("x", "cancel", "Cancel", id="tasks.cancel", tooltip="Cancel the chosen tasks"),
        Binding(
            "p", "priority", "Priority", id="tasks.priority", tooltip="Change the chosen tasks' priority"
        ),
        Binding(
            "y", "copy", "Copy id", show=False, id="tasks.copy", tooltip="Copy the ids of the chosen tasks"
        ),
    ]

    # -- what a screen of its own overrides

    def chosen_tasks(self) -> Mapping[UUID, str]:
        """Tasks that are chosen, and what they are called on the screen."""
        return {}

    def only_failed(self) -> bool:
        """Whether all that could be chosen has failed: to cancel that is to give it up."""
        return False

    # -- what it can use

    @work(group="ask", exit_on_error=False)
    async def carry_out_priority(self, wanted: TaskFilter, names: Mapping[UUID, str], what: str) -> None:
        """Ask for a priority, and give it to tasks.

        Args:
            wanted: Which tasks.
            names: What they are called, where they are named.
            what: They in words.
        """
        choices = [Choice(priority, priority) for priority in PRIORITIES]
        priority = await ask_choice(self.console, f"Priority of {what}", choices, start=1)
        if priority is not None:
            self.carry_out(prioritise(wanted, priority, scope=_scope(names), names=names))

    # -- keys

    def can_act(self, action: str) -> bool:
        """Whether tasks are chosen."""
        return bool(self.chosen_tasks())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What there is nothing for is shown all the same: the next row may be one for it."""
        if action in self.CHANGES and not self.can_act(action):
            return None
        return super().check_action(action, parameters)

    def action_retry(self) -> None:
        """Retry the chosen."""
        if (names := self._named()) is not None:
            self.carry_out(retry(TaskFilter(ids=tuple(names)), scope=_scope(names), names=names))

    def action_cancel(self) -> None:
        """Cancel the chosen."""
        if (names := self._named()) is not None:
            end = give_up if self.only_failed() else cancel
            self.carry_out(end(TaskFilter(ids=tuple(names)), scope=_scope(names), names=names))

    def action_priority(self) -> None:
        """Give the chosen another priority."""
        if (names := self._named()) is not None:
            what = next(iter(names.values())) if len(names) == 1 else count(len(names), "task")
            self.carry_out_priority(TaskFilter(ids=tuple(names)), names, what)

    def action_copy(self) -> None:
        """Copy the ids of the chosen, a line each."""
        chosen = list(self.chosen_tasks())
        if chosen:
            self.console.copy_to_clipboard("\n".join(map(str, chosen)))
            told = str(chosen[0]) if len(chosen) == 1 else count(len(chosen), "id")
            self.notify(f"Copied: {told}", markup=False)

    def _named(self) -> Mapping[UUID, str] | None:
        """The chosen tasks as of now: they stay what they are while a dialog is open."""
        names = dict(self.chosen_tasks())
        return names if names and self.is_meant() else None


def _scope(names: Mapping[UUID, str]) -> str:
    """Named tasks in words; nothing for those of a filter, which has words of its own."""
    return "marked tasks" if len(names) > 1 else "tasks" if names else ""
