"""The list of screens. Each has a key and a module, which is imported when the screen is first shown."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from embedq_worker.process.imports import loading

if TYPE_CHECKING:
    from embedq_tui.screens.base import ConsoleScreen


class Entry(NamedTuple):
    """A screen with a key of its own.

    Attributes:
        name: The name of its mode and of its package.
        key: The key that shows it.
        title: As shown in the line of tabs.
        summary: As shown in the palette and in help.
    """

    name: str
    key: str
    title: str
    summary: str

    def build(self) -> ConsoleScreen:
        """Import and create it."""
        with loading():
            module = import_module(f"embedq_tui.screens.{self.name}.screen")
        screen: ConsoleScreen = getattr(module, f"{self.title}Screen")()
        return screen


ENTRIES = (
    Entry(
        "overview", "1", "Overview", "Counts, rates, workers, provider, failures and audit log at a glance"
    ),
    Entry("tasks", "2", "Tasks", "Every task: filter, sort, mark, act"),
    Entry("stuck", "3", "Stuck", "Claimed tasks that nobody will finish"),
    Entry("failures", "4", "Failures", "Failed tasks, grouped by error"),
    Entry("workers", "5", "Workers", "This console's worker with its log, and all others"),
    Entry("audit", "6", "Audit", "The audit log, past and live"),
    Entry("metrics", "7", "Metrics", "Throughput, latency, depth and errors over time"),
    Entry("articles", "8", "Articles", "Which articles are embedded; backfill; search"),
    Entry("settings", "9", "Settings", "Every setting with its source; checks and maintenance"),
)
