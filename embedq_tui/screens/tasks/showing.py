"""From another screen to the list of some tasks."""

from __future__ import annotations

from embedq_tui.screens.base import ConsoleScreen
from embedq_tui.screens.tasks.screen import TasksScreen
from embedq_worker.queue.wanted import TaskFilter


def show_tasks(before: ConsoleScreen, wanted: TaskFilter) -> None:
    """Switch to Tasks, and list these.

    Args:
        before: The screen to leave.
        wanted: The filter to apply.
    """
    app = before.app
    before.console.action_show("tasks")
    tasks = app.screen_stack[0]
    while app.screen is not tasks:  # details of a task opened earlier
        app.pop_screen()
    if isinstance(tasks, TasksScreen):
        tasks.call_next(tasks.look_for, wanted)
