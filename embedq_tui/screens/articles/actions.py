"""Queueing the selected articles, wherever they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.binding import BindingType

from embedq_tui.desk import Desk
from embedq_tui.screens.actions import ActionScreen, Change


class ArticleActions(ActionScreen):
    """A screen that shows articles and queues the selected ones."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Change(
            "r", "queue", "Queue", id="articles.queue", tooltip="Queue the selected articles for embedding"
        )
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

        if chosen and self.is_meant():
            self.alone(act)
