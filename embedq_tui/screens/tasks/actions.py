"""Actions on selected tasks, wherever they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from textual import work
from textual.binding import Binding, BindingType

from embedq_tui.execution.request import cancel, give_up, prioritise, retry, retry_waiting
from embedq_tui.rendering.words import count
from embedq_tui.screens.actions import ActionScreen, Change
from embedq_tui.screens.priorities import ask_priority
from embedq_worker.queue.wanted import TaskFilter


class TaskActions(ActionScreen):
    """A screen that shows tasks and acts on the selected ones."""

    IN_TURN = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Change(
            "r", "retry", "Retry", id="tasks.retry", tooltip="Retry the selected tasks, failed or not yet due"
        ),
        Change("x", "cancel", "Cancel", id="tasks.cancel", tooltip="Cancel the selected tasks"),
        Change(
            "p",
            "priority",
            "Priority",
            id="tasks.priority",
            tooltip="Change the priority of the selected tasks",
        ),
        Binding(
            "y", "copy", "Copy id", show=False, id="tasks.copy", tooltip="Copy the ids of the selected tasks"
        ),
    ]

    # -- for subclasses to override

    def chosen_tasks(self) -> Mapping[UUID, str]:
        """The selected tasks, with their names as shown on the screen."""
        return {}

    def common_status(self) -> str | None:
        """The status of all selected tasks, if known and the same: it decides what a key does to them."""
        return None

    def chosen_in_view(self) -> bool:
        """Whether all selected tasks are on the screen; marked ones may be on another page."""
        return True

    # -- for subclasses to use

    @work(group="ask", exit_on_error=False)
    async def carry_out_priority(self, wanted: TaskFilter, names: Mapping[UUID, str], what: str) -> None:
        """Ask for a priority, and set it on tasks.

        Args:
            wanted: Which tasks.
            names: Their names, if they are selected individually.
            what: The tasks in words.
        """
        priority = await ask_priority(self.app, f"Priority of {what}", "normal")
        if priority is not None:
            self.carry_out(prioritise(wanted, priority, scope=_scope(names), names=names))

    # -- keys

    def can_act(self, action: str) -> bool:
        """Whether any tasks are selected."""
        return bool(self.chosen_tasks())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey out actions that do not apply, rather than hide them: they may apply to the next row."""
        if action in self.changes and not self.can_act(action):
            return None
        return super().check_action(action, parameters)

    def action_retry(self) -> None:
        """Retry the selected tasks."""
        if (names := self._named()) is not None:
            again = retry_waiting if self.common_status() == "pending" else retry
            wanted, in_view = TaskFilter(ids=tuple(names)), self.chosen_in_view()
            self.carry_out(again(wanted, scope=_scope(names), names=names, in_view=in_view))

    def action_cancel(self) -> None:
        """Cancel the selected tasks."""
        if (names := self._named()) is not None:
            end = give_up if self.common_status() == "failed" else cancel
            self.carry_out(end(TaskFilter(ids=tuple(names)), scope=_scope(names), names=names))

    def action_priority(self) -> None:
        """Change the priority of the selected tasks."""
        if (names := self._named()) is not None:
            what = next(iter(names.values())) if len(names) == 1 else count(len(names), "task")
            self.carry_out_priority(TaskFilter(ids=tuple(names)), names, what)

    def action_copy(self) -> None:
        """Copy the ids of the selected tasks, one per line."""
        if chosen := list(map(str, self.chosen_tasks())):
            self.ids_to_clipboard(chosen)

    def _named(self) -> Mapping[UUID, str] | None:
        """A snapshot of the selected tasks, which stays the same while a dialog is open."""
        names = dict(self.chosen_tasks())
        return names if names and self.is_meant() else None


def _scope(names: Mapping[UUID, str]) -> str:
    """Selected tasks in words; empty for a filter, which describes itself."""
    return "marked tasks" if len(names) > 1 else "tasks" if names else ""
