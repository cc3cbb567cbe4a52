"""The details of one article: its stored chunks and its tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.styles import BAD, HEAD, QUIET
from embedq_tui.screens.articles.actions import ArticleQueueing
from embedq_tui.screens.articles.lines import CHUNKS, TASKS, chunk_row, facts, task_row
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.lines import Lines
from embedq_worker.database.connections import Connection
from embedq_worker.insights.detail import ArticleDetail, article_detail, chunk_text
from embedq_worker.providers.naming import stored_model
from embedq_worker.settings import Settings
from embedq_worker.text import printable_line

SECTIONS = ("chunks", "tasks")


@dataclass(frozen=True)
class Article(Question[ArticleDetail | None]):
    """An article with its chunks and tasks; None if it does not exist."""

    article: int
    pause_s: ClassVar[float] = 0.5

    async def ask(self, connection: Connection, settings: Settings) -> ArticleDetail | None:
        """Ask it once."""
        return await article_detail(connection, self.article)


@dataclass(frozen=True)
class ChunkText(Question[str | None]):
    """The text of a chunk; None if it no longer exists."""

    article: int
    index: int

    async def ask(self, connection: Connection, settings: Settings) -> str | None:
        """Ask it once."""
        return await chunk_text(connection, self.article, self.index)


class ArticleDetailScreen(ArticleQueueing):
    """Shows an article, followed by its id.

    Args:
        article: Its id.
    """

    MODE = "articles"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "leave", "Back", id="article.back"),
        Binding("tab,right,l", "section(1)", "Chunks, tasks", id="article.next"),
        Binding("shift+tab,left,h", "section(-1)", "Previous tab", show=False, id="article.previous"),
        Binding("y", "copy", "Copy slug", id="article.copy", tooltip="Copy the slug"),
    ]

    def __init__(self, article: int) -> None:
        super().__init__()
        self._of = article
        self._found: ArticleDetail | None = None
        self._gone = False
        self._problem = ""
        self._section = SECTIONS[0]

    def body(self) -> ComposeResult:
        """The facts, and below them chunks or tasks."""
        yield Lines(id="facts")
        yield Lines(id="sections")
        with ContentSwitcher(initial=SECTIONS[0]):
            yield KeyedTable(CHUNKS, opens=True, id="chunks")
            yield KeyedTable(TASKS, opens=True, id="tasks")

    def on_mount(self) -> None:
        """Draw placeholders and focus the first tab."""
        self._draw()
        self._show_section()

    def questions(self) -> Iterable[Question[Any]]:
        """The article."""
        yield Article(self._of)

    def answered(self, answer: Answer[Any]) -> None:
        """Show it; the last known state of a deleted article stays."""
        self._problem = "" if answer.error is None else answer.error.message
        self._gone = answer.value is None and answer.error is None
        self._found = answer.value or self._found
        self._draw()
        self.refresh_bindings()

    def state_changed(self) -> None:
        """The rights or the connection may have changed."""
        self._draw()
        self.refresh_bindings()

    def ticked(self, now: datetime) -> None:
        """Update ages."""
        self._draw()

    # -- drawing

    def _draw(self) -> None:
        found, now = self._found, self.store.now()
        self.query_one("#facts", Lines).show(self._facts())
        self.query_one("#sections", Lines).show([self._sections()])
        if found is not None:
            now = now or found.at
            self.query_one("#chunks", KeyedTable).show(map(chunk_row, found.chunks), now=now)
            self.query_one("#tasks", KeyedTable).show(map(task_row, found.tasks), now=now)

    def _facts(self) -> Iterable[Text]:
        if self._gone:
            gone = "no longer exists" if self._found else "does not exist"
            yield Text(f"Article {self._of} {gone}", f"bold {BAD}")
        if self._problem:
            yield Text(printable_line(self._problem), BAD)
        if self._found is not None:
            now = self.store.now() or self._found.at
            queued = any(task.status in ("pending", "processing") for task in self._found.tasks)
            model = stored_model(self.session.settings)
            yield from facts(self._found.article, now, queued=queued, model=model)
        elif not self._gone and not self._problem:
            yield Text(f"Article {self._of}  ", QUIET) + self.unknown()

    def _sections(self) -> Text:
        found, line = self._found, Text()
        chunks, tasks = (len(found.chunks), len(found.tasks)) if found else (0, 0)
        for name, label in (("chunks", f"Chunks {chunks:,}"), ("tasks", f"Tasks {tasks:,}")):
            line.append(f" {label} ", f"reverse {HEAD}" if name == self._section else QUIET)
            line.append(" ")
        return line.append(f" {key('article.next')}: next", QUIET)

    def _show_section(self) -> None:
        self.query_one(ContentSwitcher).current = self._section
        self.set_focus(self.query_one(f"#{self._section}"))
        self._draw()

    # -- keys

    def chosen_articles(self) -> Mapping[int, str]:
        """This article, while it exists."""
        return {self._of: self._found.article.slug} if self._found is not None and not self._gone else {}

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Copying needs a loaded article."""
        if action == "copy":
            return self._found is not None
        return super().check_action(action, parameters)

    def action_leave(self) -> None:
        """Go back to the previous screen."""
        self.dismiss()

    def action_section(self, by: int) -> None:
        """Show the other tab."""
        self._section = SECTIONS[(SECTIONS.index(self._section) + by) % len(SECTIONS)]
        self._show_section()

    def action_copy(self) -> None:
        """Copy the slug."""
        if self._found is not None:
            slug = self._found.article.slug
            self.app.copy_to_clipboard(slug)
            self.notify(f"Copied: {printable_line(slug, 100)}", markup=False)

    @on(KeyedTable.RowSelected, "#chunks")
    def _read(self, event: KeyedTable.RowSelected) -> None:
        event.stop()
        if event.row_key.value is not None:
            self._show_chunk(int(event.row_key.value))

    @work(exclusive=True, group="chunk", exit_on_error=False)
    async def _show_chunk(self, index: int) -> None:
        """Show the text of a chunk."""
        with self.desk.dialogs.telling("Loading failed"):
            text = await self.session.ask(ChunkText(self._of, index))
            shown = text if text is not None else "This chunk no longer exists."
            await self.desk.dialogs.tell(Report(f"Chunk {index}", [shown]))

    @on(KeyedTable.RowSelected, "#tasks")
    def _open(self, event: KeyedTable.RowSelected) -> None:
        event.stop()
        if event.row_key.value is not None:
            self.console.show_task(UUID(event.row_key.value))
