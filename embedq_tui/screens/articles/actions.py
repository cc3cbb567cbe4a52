"""Actions on articles: queue the selected ones, import files, run or roll back a backfill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.binding import Binding, BindingType

from embedq_tui.desk import Desk
from embedq_tui.screens.actions import ActionScreen
from embedq_worker.actions.bulk import Operation


class ArticleQueueing(ActionScreen):
    """A screen that shows articles and queues the selected ones."""

    CHANGES = frozenset({"queue"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "r", "queue", "Queue", id="articles.queue", tooltip="Queue the selected articles for embedding"
        ),
    ]

    # -- for subclasses to override

    def chosen_articles(self) -> Mapping[int, str]:
        """Ids and slugs of the selected articles."""
        return {}

    def queued(self) -> None:
        """React after the selected articles were queued."""

    # -- wiring

    def can_act(self, action: str) -> bool:
        """Queueing needs a selection."""
        return super().can_act(action) if action != "queue" else bool(self.chosen_articles())

    def action_queue(self) -> None:
        """Queue a snapshot of the selected articles, which stays the same while a dialog is open."""
        from embedq_tui.screens.articles.queueing import queue

        chosen = dict(self.chosen_articles())

        async def act(desk: Desk) -> None:
            if await queue(desk, chosen) and self.alive:
                self.queued()

        if chosen:
            self.alone(act)


class ArticleActions(ArticleQueueing):
    """The screen of all articles.

    Attributes:
        backfill: The last backfill; None if there was none.
    """

    CHANGES = ArticleQueueing.CHANGES | {"backfill", "take_back", "import_files"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "b",
            "backfill",
            "Backfill",
            id="articles.backfill",
            tooltip="Queue what needs embedding (shows the count first); resumes a stopped backfill",
        ),
        Binding(
            "B",
            "take_back",
            "Roll back",
            show=False,
            id="articles.take_back",
            tooltip="Remove the last backfill's tasks that are still pending",
        ),
        Binding(
            "i",
            "import_files",
            "Import",
            id="articles.import",
            tooltip="Import local Markdown files as articles and queue them (shows the count first)",
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.backfill: Operation | None = None

    def can_act(self, action: str) -> bool:
        """Rolling back needs a backfill."""
        return self.backfill is not None if action == "take_back" else super().can_act(action)

    def action_backfill(self) -> None:
        """Queue what needs embedding, after counting and confirmation."""
        from embedq_tui.screens.articles.backfill import run_backfill

        self.alone(run_backfill)

    def action_take_back(self) -> None:
        """Remove the pending tasks of the last backfill."""
        from embedq_tui.screens.articles.backfill import take_back

        self.alone(take_back)

    def action_import_files(self) -> None:
        """Import files, after a dry run and confirmation."""
        from embedq_tui.screens.articles.importing import run_import

        self.alone(run_import)
