"""Stuck tasks: who holds them, why they are stuck, and actions to release them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from embedq_tui.dialogs.choose import ask_text
from embedq_tui.execution.request import Request, cancel, reset
from embedq_tui.live.questions import Answer, Question
from embedq_tui.rendering.styles import BAD
from embedq_tui.screens.actions import ActionScreen, Change
from embedq_tui.screens.exporting import export
from embedq_tui.screens.stuck.questions import WhatIsStuck
from embedq_tui.screens.stuck.render import COLUMNS, head, row_of, scope_of
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_worker.actions.tasks import Outcome
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.stuck import StuckTask, StuckTasks, stuck_by
from embedq_worker.queue.wanted import Stuck, TaskFilter
from embedq_worker.text import age, printable_line

EXPORTED = 1_000_000


class StuckScreen(ActionScreen):
    """The list of stuck tasks, with its actions."""

    MODE = "stuck"
    BINDINGS: ClassVar[list[BindingType]] = [
        Change("r", "reset", "Reset", id="stuck.reset", tooltip="Return the selected tasks to the queue"),
        Change(
            "R", "reset_all", "Reset all", id="stuck.reset_all", tooltip="Return all stuck tasks to the queue"
        ),
        Change("x", "cancel", "Cancel", id="stuck.cancel", tooltip="Cancel the selected tasks"),
        Change("X", "cancel_all", show=False, id="stuck.cancel_all", tooltip="Cancel all stuck tasks"),
        Binding(
            "m",
            "minutes",
            "Minutes",
            show=False,  # shown in the line above the list
            id="stuck.minutes",
            tooltip="Set the age at which a claim is stuck",
        ),
        Binding(
            "y", "copy", "Copy id", show=False, id="stuck.copy", tooltip="Copy the ids of the selected tasks"
        ),
        Binding("e", "export", "Export", show=False, id="stuck.export", tooltip="Export the list to a file"),
        Binding("escape", "unmark", show=False, id="stuck.unmark", tooltip="Clear all marks"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-high")]
        self._older_s: float | None = None
        self._found: StuckTasks | None = None
        self._error: EmbedqError | None = None
        self._head = Text()

    def body(self) -> ComposeResult:
        """A summary, then the tasks."""
        yield Static(id="head")
        yield KeyedTable(COLUMNS, markable=True, opens=True, id="tasks")

    # -- display

    @property
    def table(self) -> KeyedTable:
        """The list."""
        return self.query_one(KeyedTable)

    @property
    def _by(self) -> Stuck:
        return stuck_by(self.session.settings, self._older_s)

    def questions(self) -> Iterable[Question[Any]]:
        """The question for the stuck tasks."""
        yield WhatIsStuck(self._by)

    def answered(self, answer: Answer[Any]) -> None:
        """Show the stuck tasks; after an error the previous ones stay."""
        self._error = answer.error
        if isinstance(answer.value, StuckTasks):
            self._found = found = answer.value
            self.table.show_header = bool(found.tasks)
            self.table.show(map(row_of, found.tasks), now=self.store.now() or found.at)
            self.table.unmark(self.table.marked - set(self.table.keys))
        self._draw_head()

    def state_changed(self) -> None:
        """Workers may have started or stopped."""
        self._draw_head()

    def ticked(self, now: datetime) -> None:
        """Update the ages of claims."""
        self.table.tick(now)

    def _draw_head(self) -> None:
        found = self._found
        if self._error is not None:
            lines = [Text(printable_line(self._error.line), BAD)]
        elif found is None:
            lines = [self.unknown("Loading ...")]
        else:
            served = self.store.overview is not None and self.store.overview.running
            chosen_here = found.older_than_s != stuck_by(self.session.settings).older_s
            lines = list(head(found, served=served, chosen_here=chosen_here))
        if (text := Text("\n").join(lines)) != self._head:
            self._head = text
            self.query_one("#head", Static).update(text)
        if found is not None:
            self.offer(found.total > 0, bool(self.table.marked))

    # -- marks

    @on(KeyedTable.Marked)
    def _marked(self) -> None:
        """Freeze the list while anything is marked."""
        self.freeze(bool(self.table.marked))
        self.offer(bool(self._found and self._found.total), bool(self.table.marked))

    def action_unmark(self) -> None:
        """Clear all marks."""
        self.table.unmark()

    def can_act(self, action: str) -> bool:
        """Act only if something is stuck."""
        return bool(self._found and self._found.total)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done now."""
        if action in ("copy", "export"):
            return bool(self._found and self._found.tasks)
        if action == "unmark":
            return bool(self.alive and self.table.marked)
        return super().check_action(action, parameters)

    @property
    def _chosen(self) -> list[StuckTask]:
        """The marked tasks, or the one under the cursor."""
        keys = set(self.table.chosen)
        return [task for task in (self._found.tasks if self._found else ()) if str(task.id) in keys]

    # -- acting

    def settled(self) -> bool:
        """Whether the operator has seen the row under the cursor."""
        return self.table.settled

    def action_reset(self) -> None:
        """Return the selected tasks to the queue."""
        self._do_to_chosen(reset)

    def action_cancel(self) -> None:
        """Cancel the selected tasks."""
        self._do_to_chosen(cancel)

    def action_reset_all(self) -> None:
        """Return all stuck tasks to the queue."""
        self._do_to_all(reset)

    def action_cancel_all(self) -> None:
        """Cancel all stuck tasks."""
        self._do_to_all(cancel)

    def _do_to_chosen(self, make: Callable[..., Request]) -> None:
        if (chosen := self._chosen) and self.is_meant():
            wanted = TaskFilter(ids=tuple(task.id for task in chosen), stuck=self._by)
            names = {task.id: task.slug or str(task.id) for task in chosen}
            self.carry_out(make(wanted, scope=scope_of(chosen), names=names))

    def _do_to_all(self, make: Callable[..., Request]) -> None:
        by = self._by

        async def found_out() -> Request:  # the display may be frozen
            now = await self.session.ask(WhatIsStuck(by, limit=1))
            return make(TaskFilter(statuses=("processing",), stuck=by), scope=scope_of(now.workers))

        self.carry_out(found_out)

    def acted(self, outcome: Outcome) -> None:
        """Unmark the tasks acted on, so that repeating the action does the rest, shown as it is now."""
        self.show_result()
        self.table.unmark(map(str, outcome.ids))

    @work(exclusive=True, group="minutes", exit_on_error=False)
    async def action_minutes(self) -> None:
        """Ask for the age at which a claim counts as stuck."""
        own = stuck_by(self.session.settings).older_s
        text = await ask_text(
            self.app,
            "Treat claims as stuck after how many minutes?",
            value=f"{self._by.older_s / 60:g}",
            note=f"Empty: the setting, {age(own)}. Lower values may reset tasks still being processed.",
            complaint=_complaint,
        )
        if text is not None:
            self._older_s = float(text) * 60 if text else None
            self.table.unmark()
            self.freeze(False)
            self.ask_again()

    # -- details, copy, export

    @on(KeyedTable.RowSelected)
    def _details(self, event: KeyedTable.RowSelected) -> None:
        if event.row_key.value is not None:
            self.console.show_task(UUID(event.row_key.value))

    @work(exclusive=True, group="export", exit_on_error=False)
    async def action_export(self) -> None:
        """Export all stuck tasks to a file."""

        async def pages() -> AsyncIterator[Sequence[object]]:
            yield (await self.session.ask(WhatIsStuck(self._by, limit=EXPORTED))).tasks

        await export(self.desk, "stuck", pages())

    def action_copy(self) -> None:
        """Copy the ids of the selected tasks."""
        self.ids_to_clipboard(self.table.chosen)


def _complaint(text: str) -> str:
    try:
        good = not text or 0 <= float(text) <= 100_000
    except ValueError:
        good = False
    return "" if good else "enter a number of minutes, such as 5 or 0.5"
