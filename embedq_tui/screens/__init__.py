"""The screens, and how they are found: a key and a module each, imported when first shown."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from embedq_worker.loading import loading

if TYPE_CHECKING:
    from embedq_tui.screens.base import ConsoleScreen


class Entry(NamedTuple):
    """A screen that has a key.

    Attributes:
        name: Of the mode, and of its package.
        key: That shows it.
        title: In the line of tabs.
        summary: In the palette and in help.
    """

    name: str
    key: str
    title: str
    summary: str

    def build(self) -> ConsoleScreen:
        """Import and make it."""
        with loading():
            module = import_module(f"embedq_tui.screens.{self.name}.screen")
        screen: ConsoleScreen = getattr(module, f"{self.title}Screen")()
        return screen


ENTRIES = (
    Entry("overview", "1", "Overview", "Counts, pace, workers, provider, failures and audit log at a glance"),
    Entry("tasks", "2", "Tasks", "Every task: filter, sort, mark, act"),
    Entry("stuck", "3", "Stuck", "Tasks whose claim is too old or whose worker is gone"),
    Entry("failures", "4", "Failures", "Failed tasks, grouped by error"),
    Entry("workers", "5", "Workers", "The worker of this console with its log, and all others"),
    Entry("audit", "6", "Audit", "What happened, and what happens"),
    Entry("metrics", "7", "Metrics", "Throughput, times, depth and errors over time"),
    Entry("articles", "8", "Articles", "Which articles are embedded; backfill; search"),
    Entry("settings", "9", "Settings", "Every setting with its source; checks of database and provider"),
)
