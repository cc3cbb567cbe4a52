"""The details of one article: its stored chunks and its tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import ContentSwitcher

from embedq_tui.dialogs.outcome import Report
from embedq_tui.live.questions import Answer, Question
from embedq_tui.screens.articles.actions import ArticleActions
from embedq_tui.screens.articles.detail_render import CHUNKS, TASKS, chunk_row, facts, task_row
from embedq_tui.screens.articles.questions import Article, ChunkText
from embedq_tui.screens.sections import DetailScreen
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.lines import Lines
from embedq_worker.insights.detail import ArticleDetail
from embedq_worker.providers.naming import stored_model


class ArticleDetailScreen(DetailScreen[ArticleDetail], ArticleActions):
    """Shows an article, followed by its id.

    Args:
        article: Its id.
    """

    MODE = "articles"
    SECTIONS = ("chunks", "tasks")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "leave", "Back", id="article.back"),
        Binding("tab,right,l", "section(1)", "Chunks, tasks", id="article.next"),
        Binding("shift+tab,left,h", "section(-1)", "Previous tab", show=False, id="article.previous"),
        Binding("y", "copy", "Copy slug", id="article.copy", tooltip="Copy the slug"),
    ]

    def __init__(self, article: int) -> None:
        super().__init__(f"Article {article}")
        self._article = article

    def body(self) -> ComposeResult:
        """The facts, and below them chunks or tasks."""
        yield Lines(id="facts")
        yield Lines(id="sections")
        with ContentSwitcher(initial=self.section):
            yield KeyedTable(CHUNKS, opens=True, id="chunks")
            yield KeyedTable(TASKS, opens=True, id="tasks")

    def questions(self) -> Iterable[Question[Any]]:
        """The article."""
        yield Article(self._article)

    def answered(self, answer: Answer[Any]) -> None:
        """Show it."""
        self.follow(answer)
        self.draw()
        self.refresh_bindings()

    # -- drawing

    def draw(self) -> None:
        """Also draw the tabs."""
        super().draw()
        found = self.found
        chunks, tasks = (len(found.chunks), len(found.tasks)) if found else (0, 0)
        labels = (f"Chunks {chunks:,}", f"Tasks {tasks:,}")
        self.query_one("#sections", Lines).show([self.section_line(labels, "article.next")])
        if found is not None:
            now = self.store.now() or found.at
            self.query_one("#chunks", KeyedTable).show(map(chunk_row, found.chunks), now=now)
            self.query_one("#tasks", KeyedTable).show(map(task_row, found.tasks), now=now)

    def facts(self, found: ArticleDetail, now: datetime) -> Iterable[Text]:
        """The article at a glance."""
        return facts(found.article, now, model=stored_model(self.session.settings))

    # -- keys

    def chosen_articles(self) -> Mapping[int, str]:
        """This article, while it exists."""
        return {self._article: self.found.article.slug} if self.found is not None and not self.gone else {}

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Copying needs a loaded article."""
        if action == "copy":
            return self.found is not None
        return super().check_action(action, parameters)

    def action_copy(self) -> None:
        """Copy the slug."""
        if self.found is not None:
            self.to_clipboard(self.found.article.slug, self.found.article.slug)

    @on(KeyedTable.RowSelected, "#chunks")
    def _read(self, event: KeyedTable.RowSelected) -> None:
        event.stop()
        if event.row_key.value is not None:
            self._show_chunk(int(event.row_key.value))

    @work(exclusive=True, group="chunk", exit_on_error=False)
    async def _show_chunk(self, index: int) -> None:
        """Show the text of a chunk."""
        with self.desk.dialogs.telling("Loading failed"):
            text = await self.session.ask(ChunkText(self._article, index))
            shown = text if text is not None else "This chunk no longer exists."
            await self.desk.dialogs.tell(Report(f"Chunk {index}", [shown]))

    @on(KeyedTable.RowSelected, "#tasks")
    def _open(self, event: KeyedTable.RowSelected) -> None:
        event.stop()
        if event.row_key.value is not None:
            self.console.show_task(UUID(event.row_key.value))
