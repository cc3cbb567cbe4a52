"""Articles: how many are embedded, which are not, backfill for those, and search by meaning."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from embedq_tui.dialogs.running import Progress
from embedq_tui.filters.article_filter import EXAMPLE, complete, format_filter, parse_filter
from embedq_tui.live.questions import Answer, Question
from embedq_tui.rendering.lines import labelled
from embedq_tui.rendering.styles import BAD
from embedq_tui.screens.actions import Change
from embedq_tui.screens.articles.actions import ArticleActions
from embedq_tui.screens.articles.questions import DAY_S, EXPORTED, ArticleList, Covered, LastBackfill
from embedq_tui.screens.articles.render import (
    COLUMNS,
    backfill_line,
    figures,
    filter_line,
    place_line,
    row_of,
)
from embedq_tui.screens.exporting import export
from embedq_tui.screens.frame import spread
from embedq_tui.screens.page_list import PageList
from embedq_tui.screens.paging import Pages, View, all_pages, page_keys
from embedq_tui.widgets.keyed_table import KeyedTable
from embedq_tui.widgets.lines import Line, Lines
from embedq_worker.actions.bulk import Operation
from embedq_worker.insights.articles import ArticleFilter, ArticlePage, State, StateCounts
from embedq_worker.text import printable_line


class ArticlesScreen(PageList[ArticleFilter], ArticleActions):
    """Shows the coverage, and the list of articles page by page."""

    pages: Pages[View[ArticleFilter, int], ArticlePage]
    MODE = "articles"
    EXAMPLE = EXAMPLE
    BINDINGS: ClassVar[list[BindingType]] = [
        Change(
            "b",
            "backfill",
            "Backfill",
            id="articles.backfill",
            tooltip="Queue what needs embedding of what the filter matches (shows the count first); "
            "resumes a stopped backfill",
        ),
        Change(
            "B",
            "take_back",
            "Roll back",
            show=False,
            id="articles.take_back",
            tooltip="Remove the last backfill's tasks that are still pending",
        ),
        Change(
            "i",
            "import_files",
            "Import",
            id="articles.import",
            tooltip="Import local Markdown files as articles and queue them (shows the count first)",
        ),
        # With priority, so that what is typed next goes into the line and is never taken for commands.
        Binding("slash", "filter", "Filter", id="articles.filter", priority=True),
        Binding(
            "s",
            "search",
            "Search",
            show=False,  # shown in the line above the list
            id="articles.search",
            tooltip="Search the articles by meaning",
        ),
        *page_keys("articles"),
        Binding("tab", "state(1)", "Next state", show=False, id="articles.state_next"),
        Binding("shift+tab", "state(-1)", "Previous state", show=False, id="articles.state_before"),
        Binding("o", "order", "Order", show=False, id="articles.order", tooltip="Sort by newest or oldest"),
        Binding(
            "C", "count", "Count all", show=False, id="articles.count", tooltip="Count all articles by state"
        ),
        Binding("y", "copy", "Copy slug", show=False, id="articles.copy", tooltip="Copy the slug"),
        Binding(
            "e",
            "export",
            "Export",
            show=False,
            id="articles.export",
            tooltip="Export all that match to a file",
        ),
        Binding("escape", "back", "Back", show=False, id="articles.back", tooltip="Clear the filter"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.pages = Pages(
            View(ArticleFilter()), lambda view: ArticleList(view.wanted, view.direction, view.starts[-1])
        )
        self._problem = ""
        self._coverage: StateCounts | None = None
        self._counted_at = 0.0
        self._counting = True
        self._backfill: Operation | None = None
        self._slugs: dict[int, str] = {}

    def body(self) -> ComposeResult:
        """Coverage, filter, table."""
        yield Lines(id="figures")
        yield Line(id="info")
        yield from self.filter_widgets()
        yield KeyedTable(COLUMNS, markable=True, opens=True, id="list")

    def questions(self) -> Iterable[Question[Any]]:
        """The page, the coverage, the last backfill."""
        yield self.pages.asked
        yield Covered(self._count_reached)
        yield LastBackfill()

    def answered(self, answer: Answer[Any]) -> None:
        """Show an answer; after an error the previous one stays."""
        match answer.question:
            case ArticleList() as asked:
                self._problem = "" if answer.error is None else answer.error.message
                if answer.value is not None:
                    self._show(asked, answer.value)
            case Covered():
                self._counting = False
                if answer.value is not None:
                    self._take_coverage(answer.value, answer.at)
            case LastBackfill() if answer.error is None:
                self._backfill = answer.value
        self.draw_lines()
        self.refresh_bindings()

    def _count_reached(self, found: StateCounts) -> None:
        """Show counts as they grow, but only the first time; a later count replaces the previous one.

        A count that ended because another screen was shown starts again: it must not shrink what is shown.
        """
        known = self._coverage.articles if self._coverage is not None else 0
        if self.alive and not self.frozen and self._counting and found.articles > known:
            self._take_coverage(found, time.monotonic())
            self.draw_lines()

    def _take_coverage(self, found: StateCounts, at: float) -> None:
        if found.done or self._coverage is None or not self._coverage.done:
            self._coverage, self._counted_at = found, at

    def _show(self, asked: ArticleList, page: ArticlePage) -> None:
        self.pages.page, self.pages.shown = page, asked
        marked = {int(key): self._slugs[int(key)] for key in self.table.marked}
        self._slugs = marked | {article.id: article.slug for article in page.articles}
        self.show_rows(map(row_of, page.articles), page.at)

    # -- drawing

    def ticked(self, now: datetime) -> None:
        """Update ages."""
        self.table.tick(now)
        self.draw_lines()

    def draw_lines(self) -> None:
        """Update the coverage, the filter and the position."""
        if not self.alive:
            return
        width = self.size.width - 2
        self.query_one("#figures", Lines).show(self._figures())
        self.query_one("#info", Line).say(spread(self._filter_line(), self._place(), width))

    def _figures(self) -> Iterable[Text]:
        if self._coverage is None:
            yield labelled("Articles").append_text(self.unknown("counting"))
        else:
            counted_s = time.monotonic() - self._counted_at
            yield from figures(self._coverage, counted_s, counting=self._counting)
        if self._backfill is not None and (now := self.store.now()) is not None:
            yield backfill_line(self._backfill, now)

    def _filter_line(self) -> Text:
        if self._problem:
            return Text(printable_line(self._problem), BAD)
        return filter_line(self.wanted)

    def _place(self) -> Text:
        page, view = self.pages.page, self.pages.view
        if page is None or not self.pages.arrived:
            return self.unknown()
        return place_line(page, view.number, view.direction, filtered=view.wanted != ArticleFilter())

    # -- moving

    @on(KeyedTable.RowSelected, "#list")
    def _open(self, event: KeyedTable.RowSelected) -> None:
        event.stop()
        if event.row_key.value is not None:
            self.console.show_article(int(event.row_key.value))

    # -- keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done now."""
        if action in ("copy", "export"):
            return self.pages.page is not None and bool(self.pages.page.articles)
        return super().check_action(action, parameters)

    def action_order(self) -> None:
        """Reverse the sort order."""
        self.go(self.pages.view.turned())

    def action_state(self, by: int) -> None:
        """Filter by the next state, or show all."""
        choices: list[tuple[State, ...]] = [(), *((state,) for state in State)]
        place = choices.index(self.wanted.states) if self.wanted.states in choices else 0
        self.look_for(replace(self.wanted, states=choices[(place + by) % len(choices)]))

    def action_copy(self) -> None:
        """Copy the slug of the article under the cursor."""
        articles = self.pages.page.articles if self.pages.page is not None else ()
        for slug in [one.slug for one in articles if str(one.id) == self.table.current]:
            self.to_clipboard(slug, slug)

    def action_search(self) -> None:
        """Search by meaning."""
        from embedq_tui.screens.articles.search import ArticleSearchScreen

        self.app.push_screen(ArticleSearchScreen(self.wanted.folder))

    # -- the filter

    def filter_text(self) -> str:
        """The current filter as text."""
        return format_filter(self.wanted)

    def parsed(self, text: str) -> ArticleFilter:
        """Parse a filter."""
        return parse_filter(text)

    def completed(self, text: str) -> str | None:
        """Complete keys and states."""
        return complete(text)

    def look_for(self, wanted: ArticleFilter) -> None:
        """Apply another filter."""
        if wanted != self.wanted:
            self.go(self.pages.view.filtered(wanted))

    # -- acting

    def chosen_articles(self) -> Mapping[int, str]:
        """The marked articles, or the one under the cursor."""
        chosen = self.table.chosen if self.alive else ()
        return {int(key): self._slugs[int(key)] for key in chosen}

    def queued(self) -> None:
        """Clear the marks."""
        self.table.unmark()

    def can_act(self, action: str) -> bool:
        """Rolling back needs a backfill."""
        return self._backfill is not None if action == "take_back" else super().can_act(action)

    def action_backfill(self) -> None:
        """Queue what needs embedding of what the filter matches, after counting and confirmation."""
        from embedq_tui.screens.articles.backfill import run_backfill

        self.alone(partial(run_backfill, wanted=self.wanted))

    def action_take_back(self) -> None:
        """Remove the pending tasks of the last backfill."""
        from embedq_tui.screens.articles.backfill import take_back

        self.alone(take_back)

    def action_import_files(self) -> None:
        """Import files, after a dry run and confirmation."""
        from embedq_tui.screens.articles.importing import run_import

        self.alone(run_import)

    @work(group="count", exclusive=True, exit_on_error=False)
    async def action_count(self) -> None:
        """Count all articles by state, however long it takes."""
        progress = Progress("Counting articles by state", noun="article")
        question = Covered(lambda found: progress.reached(found.articles), DAY_S)
        with self.desk.dialogs.telling("Counting failed"):
            found = await self.desk.dialogs.watch(progress, lambda: self.session.ask(question))
            self._take_coverage(found, time.monotonic())
            self.draw_lines()

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_export(self) -> None:
        """Export all that match to a file."""
        asked = partial(ArticleList, self.wanted, self.pages.view.direction, limit=EXPORTED)
        await export(self.desk, "articles", all_pages(self.session, asked, lambda page: page.articles))
