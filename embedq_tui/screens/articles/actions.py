"""What can be done to articles: queue the chosen, import files, run a backfill, take one back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from embedq_tui.screens.actions import ActionScreen
from embedq_worker.actions.bulk import Operation

if TYPE_CHECKING:
    from embedq_tui.console.app import Console


class ArticleQueueing(ActionScreen):
    """A screen that shows articles, and queues those that are chosen."""

    CHANGES = frozenset({"queue"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "r", "queue", "Queue", id="articles.queue", tooltip="Queue the chosen articles for embedding"
        ),
    ]

    # -- what a screen of its own overrides

    def chosen_articles(self) -> Mapping[int, str]:
        """Ids and slugs of the articles that are chosen."""
        return {}

    def queued(self) -> None:
        """The chosen ones were queued."""

    # -- wiring

    def can_act(self, action: str) -> bool:
        """Some are chosen."""
        return super().can_act(action) if action != "queue" else bool(self.chosen_articles())

    def action_queue(self) -> None:
        """Queue the chosen, as they are now: they stay what they are while a dialog is open."""
        from embedq_tui.screens.articles.queueing import queue

        chosen = dict(self.chosen_articles())

        async def act(console: Console) -> None:
            if await queue(console, chosen) and self.alive:
                self.queued()

        if chosen:
            self.alone(act)


class ArticleActions(ArticleQueueing):
    """The screen of all articles.

    Attributes:
        backfill: The last one; None where there was none.
    """

    CHANGES = ArticleQueueing.CHANGES | {"backfill", "take_back", "import_files"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "b",
            "backfill",
            "Backfill",
            id="articles.backfill",
            tooltip="Queue what needs embedding; counts it first. Again: go on with one that was stopped",
        ),
        Binding(
            "B",
            "take_back",
            "Take back",
            show=False,
            id="articles.take_back",
            tooltip="Take back the tasks of the last backfill that nobody has begun",
        ),
        Binding(
            "i",
            "import_files",
            "Import",
            id="articles.import",
            tooltip="Read Markdown files of this machine into articles, and queue them; counts them first",
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.backfill: Operation | None = None

    def can_act(self, action: str) -> bool:
        """There is a backfill to be taken back."""
        return self.backfill is not None if action == "take_back" else super().can_act(action)

    def action_backfill(self) -> None:
        """Queue what needs embedding, after a count and a question."""
        from embedq_tui.screens.articles.backfill import run_backfill

        self.alone(run_backfill)

    def action_take_back(self) -> None:
        """Take back what a backfill queued and nobody has begun."""
        from embedq_tui.screens.articles.backfill import take_back

        self.alone(take_back)

    def action_import_files(self) -> None:
        """Import files, after a dry run and a question."""
        from embedq_tui.screens.articles.importing import run_import

        self.alone(run_import)
