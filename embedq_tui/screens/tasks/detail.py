"""The details of one task, followed by its id until it is deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import ContentSwitcher

from embedq_tui.live.questions import Answer, Question
from embedq_tui.rendering.words import article_of
from embedq_tui.screens.articles.questions import Article
from embedq_tui.screens.sections import DetailScreen
from embedq_tui.screens.tasks import detail_render
from embedq_tui.screens.tasks.actions import TaskActions
from embedq_tui.screens.tasks.questions import Detail
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.lines import Lines
from embedq_tui.widgets.rows import Column, Row
from embedq_tui.widgets.text_view import TextLine, TextView
from embedq_worker.actions.tasks import CANCEL, CANCEL_FAILED, PRIORITISE, RETRY, RETRY_WAITING, Outcome
from embedq_worker.insights.detail import ArticleDetail, TaskDetail
from embedq_worker.text import printable_line

COPIED = 100_000
"""Maximum number of characters to copy: terminals accept no more."""

_STATUSES = {
    "retry": RETRY.statuses + RETRY_WAITING.statuses,
    "cancel": CANCEL.statuses + CANCEL_FAILED.statuses,
    "priority": PRIORITISE["high"].statuses,
}


class TaskDetailScreen(DetailScreen[TaskDetail], TaskActions):
    """Shows a task.

    Args:
        task: Its id.
    """

    MODE = "tasks"
    SECTIONS = ("history", "error", "metadata", "article", "related")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "leave", "Back", id="detail.back"),
        Binding("tab,right,l", "section(1)", "Next tab", show=False, id="detail.next"),
        Binding("shift+tab,left,h", "section(-1)", "Previous tab", show=False, id="detail.previous"),
        Binding("enter", "open_article", "Open", id="detail.article", tooltip="Open the article"),
        Binding("Y", "copy_error", "Copy", id="detail.copy_error", tooltip="Copy the error"),
    ]

    def __init__(self, task: UUID) -> None:
        super().__init__(f"Task {task}")
        self._of = task
        self._chunks: ArticleDetail | None = None

    def body(self) -> ComposeResult:
        """The facts, and below them one of several tabs."""
        yield Lines(id="facts")
        yield Lines(id="sections")
        with ContentSwitcher(initial=self.section):
            for section in self.SECTIONS[:-1]:
                yield TextView(id=section)
            yield KeyedTable(
                [
                    Column("id", "Task", 36),
                    Column("status", "Status", 10),
                    Column("kind", "Kind", 6),
                    Column("when", "When", 15),
                    Column("error", "Error", 0, hidden_below=100),
                ],
                opens=True,
                id="related",
            )

    def questions(self) -> Iterable[Question[Any]]:
        """The task; its chunks only if their tab is open."""
        yield Detail(self._of)
        if self.section == "article" and self._article is not None:
            yield Article(self._article)

    @property
    def _article(self) -> int | None:
        return None if self.found is None else self.found.task.article_id

    def take(self, answer: Answer[Any]) -> None:
        """Show chunks even while frozen if none are shown yet: that changes nothing on screen."""
        if self.alive and self._chunks is None and isinstance(answer.question, Article):
            self.answered(answer)
        else:
            super().take(answer)

    def answered(self, answer: Answer[Any]) -> None:
        """Show an answer."""
        match answer.question:
            case Detail():
                self.follow(answer)
            case Article() if answer.error is None:
                self._chunks = answer.value
        self.draw()
        self._draw_section()
        self.refresh_bindings()

    # -- drawing

    def facts(self, found: TaskDetail, now: datetime) -> Iterable[Text]:
        """The task at a glance."""
        return detail_render.facts(found, now, self.size.width - 2)

    def draw(self) -> None:
        """Also draw the line of tabs."""
        super().draw()
        found = self.found
        events, related = (len(found.timeline), len(found.related)) if found else (0, 0)
        chunks = found.article.chunks if found and found.article else 0
        labels = (
            f"History {events}",
            "Error",
            "Metadata",
            f"Article, chunks {chunks}",
            f"Other tasks {related}",
        )
        self.query_one("#sections", Lines).show([self.section_line(labels, "detail.next")])

    def _draw_section(self) -> None:
        if self.found is None:
            return
        if self.section == "related":
            now = self.store.now() or self.found.at
            rows = [Row(str(task.id), detail_render.other(task)) for task in self.found.related]
            self.query_one("#related", KeyedTable).show(rows, now=now)
        else:
            self.query_one(f"#{self.section}", TextView).show(self._text(self.found))

    def _text(self, found: TaskDetail) -> Iterable[TextLine]:
        chunks = self._chunks.chunks if self._chunks is not None else None
        width = self.query_one("#article", TextView).room
        parts: Mapping[str, Callable[[], Iterable[TextLine]]] = {
            "history": lambda: detail_render.history(found.timeline),
            "error": lambda: detail_render.error(found),
            "metadata": lambda: detail_render.metadata(found.metadata),
            "article": lambda: detail_render.article(found, chunks, width),
        }
        return parts[self.section]()

    def show_section(self, section: str) -> None:
        """Show a tab, and ask for what only this one shows."""
        super().show_section(section)
        self._draw_section()
        self.ask_again()

    # -- keys

    def chosen_tasks(self) -> Mapping[UUID, str]:
        """The task shown."""
        if self.found is None or self.gone:
            return {}
        return {self._of: printable_line(article_of(self.found.task), 60)}

    def common_status(self) -> str | None:
        """The status of the task shown."""
        return None if self.found is None else self.found.task.status

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what the task's status allows."""
        if action in _STATUSES and self.found is not None:
            task = self.found.task
            due = action == "retry" and task.status == "pending" and not task.waits(self.found.at)
            if due or task.status not in _STATUSES[action]:
                return None
        elif action == "open_article":
            return self.section == "article" and bool(self.found and self.found.article)
        elif action == "copy_error":
            return bool(self.found and self.found.task.error)
        return super().check_action(action, parameters)

    def acted(self, outcome: Outcome) -> None:
        """Unfreeze, so that the next answer shows the result."""
        self.freeze(False)

    def action_open_article(self) -> None:
        """Open the task's article."""
        if self.found is not None and self.found.article is not None:
            self.console.show_article(self.found.article.id)

    def action_copy_error(self) -> None:
        """Copy the error with its stack trace."""
        if self.found is not None:
            text = "\n\n".join(filter(None, (self.found.task.error, self.found.stack_trace)))
            self.to_clipboard(text[:COPIED], f"{min(len(text), COPIED):,} characters of the error")

    @on(KeyedTable.RowSelected, "#related")
    def _go(self, event: KeyedTable.RowSelected) -> None:
        event.stop()
        if event.row_key.value is not None:
            self.console.show_task(UUID(event.row_key.value))
