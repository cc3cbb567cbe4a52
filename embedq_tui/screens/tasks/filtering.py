"""Filtering a list of tasks: by text, by status, by saved filters; and exporting it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType

from embedq_tui.execution.request import cancel, give_up, retry
from embedq_tui.filters.task_filter import EXAMPLE, complete, format_filter, parse_filter
from embedq_tui.screens.exporting import export
from embedq_tui.screens.filter_line import recall_filter, save_filter
from embedq_tui.screens.page_list import PageList
from embedq_tui.screens.paging import all_pages
from embedq_tui.screens.tasks.actions import TaskActions
from embedq_tui.screens.tasks.listing import Listing
from embedq_tui.screens.tasks.questions import Exported
from embedq_worker.errors import EmbedqError
from embedq_worker.queue.wanted import TaskFilter
from embedq_worker.queue.words import STATUSES
from embedq_worker.text import printable

_ALL = "all tasks that match the filter"
_SWEEPS = frozenset({"sweep_retry", "sweep_cancel", "sweep_priority"})


class TaskFiltering(PageList[TaskFilter], TaskActions):
    """A screen with a list of tasks that can be filtered."""

    pages: Listing
    EXAMPLE = EXAMPLE
    CHANGES = TaskActions.CHANGES | _SWEEPS
    NOT_MEANWHILE = CHANGES | {"filter", "status", "save_filter", "saved_filters", "export", "copy"}
    BINDINGS: ClassVar[list[BindingType]] = [
        # With priority, so that what is typed next goes into the line and is never taken for commands.
        Binding("slash", "filter", "Filter", key_display="/", id="tasks.filter", priority=True),
        Binding("tab", "status(1)", "Next status", show=False, id="tasks.status_next"),
        Binding("shift+tab", "status(-1)", "Previous status", show=False, id="tasks.status_before"),
        Binding("w", "save_filter", "Save filter", show=False, id="tasks.save_filter"),
        Binding("o", "saved_filters", "Saved filters", show=False, id="tasks.saved_filters"),
        Binding("R", "sweep_retry", "Retry all", show=False, id="tasks.retry_all", tooltip=f"Retry {_ALL}"),
        Binding(
            "X", "sweep_cancel", "Cancel all", show=False, id="tasks.cancel_all", tooltip=f"Cancel {_ALL}"
        ),
        Binding(
            "P",
            "sweep_priority",
            "Priority of all",
            show=False,
            id="tasks.priority_all",
            tooltip=f"Change the priority of {_ALL}",
        ),
        Binding(
            "e",
            "export",
            "Export",
            show=False,
            id="tasks.export",
            tooltip="Export the marked tasks, or all that match",
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.pages = Listing()

    # -- for subclasses to override

    def exported(self) -> tuple[TaskFilter, int | None]:
        """The tasks to export, and their number if known."""
        return self.wanted, None

    # -- the filter line

    def filter_text(self) -> str:
        """The current filter as text."""
        return format_filter(self.wanted)

    def parsed(self, text: str) -> TaskFilter:
        """Parse a filter."""
        return parse_filter(text)

    def completed(self, text: str) -> str | None:
        """Complete with known words, and with slugs and ids from the list."""
        tasks = self.pages.tasks
        slugs = dict.fromkeys(task.slug for task in tasks if task.slug)
        return complete(text, slugs, [str(task.id) for task in tasks])

    def only_failed(self) -> bool:
        """Whether the filter selects failed tasks only."""
        return self.wanted.statuses == ("failed",) or self.wanted.group is not None

    def can_act(self, action: str) -> bool:
        """Allow sweeps if anything matches, or may match: they do their own counting."""
        if action in _SWEEPS:
            return bool(self.pages.tasks) or not self.pages.arrived
        return super().can_act(action)

    # -- quick filters

    def action_status(self, by: int) -> None:
        """Filter by the next status, or show all."""
        statuses = self.wanted.statuses
        choices: list[tuple[str, ...]] = [(), *((status,) for status in STATUSES)]
        place = choices.index(statuses) if statuses in choices else 0
        self.look_for(replace(self.wanted, statuses=choices[(place + by) % len(choices)]))

    # -- all that match

    def action_sweep_retry(self) -> None:
        """Retry all that match."""
        self.carry_out(retry(self.wanted))

    def action_sweep_cancel(self) -> None:
        """Cancel all that match."""
        self.carry_out(give_up(self.wanted) if self.only_failed() else cancel(self.wanted))

    def action_sweep_priority(self) -> None:
        """Change the priority of all that match."""
        wanted = self.wanted
        self.carry_out_priority(wanted, {}, wanted.only("pending").describe())

    # -- saved filters

    @work(group="ask", exit_on_error=False)
    async def action_save_filter(self) -> None:
        """Save the filter under a name."""
        try:
            await save_filter(self.desk, format_filter(self.wanted))
        except EmbedqError as error:
            self._report(error)

    @work(group="ask", exit_on_error=False)
    async def action_saved_filters(self) -> None:
        """Apply a saved filter."""
        try:
            text = await recall_filter(self.desk)
            if text is not None:
                self.look_for(parse_filter(text))
        except EmbedqError as error:
            self._report(error)

    def _report(self, error: EmbedqError) -> None:
        self.notify(printable(str(error)), severity="error", markup=False)

    # -- export

    @work(group="ask", exit_on_error=False)
    async def action_export(self) -> None:
        """Write tasks to a file."""
        wanted, total = self.exported()
        view = self.pages.view  # marked tasks may have been claimed in the meantime
        asked = partial(Exported, wanted, view.order if wanted == view.wanted else view.direction)
        pages = all_pages(self.session, asked, lambda page: page.tasks)
        await export(self.desk, "tasks", pages, total=total)
