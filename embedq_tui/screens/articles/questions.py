"""The questions of the list of articles, and of the details of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from time import monotonic

from embedq_tui.live.questions import Question
from embedq_worker.actions import bulk
from embedq_worker.actions.bulk import Operation
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.insights.articles import (
    ArticleFilter,
    ArticlePage,
    StateCounts,
    article_page,
    coverage_by_state,
)
from embedq_worker.insights.detail import ArticleDetail, article_detail, chunk_text
from embedq_worker.queue.selection import Direction

PAGE = 100
"""Articles per page."""

EXPORTED = 1_000
"""Articles per page of an export."""

COUNT_S = 4.0
"""Seconds for each automatic count of the articles; a longer count must be requested by the operator."""

DAY_S = 86_400.0


@dataclass(frozen=True)
class ArticleList(Question[ArticlePage]):
    """A page of articles."""

    pause_s = 1.0

    wanted: ArticleFilter
    direction: Direction
    after: int | None
    limit: int = PAGE

    async def ask(self, connection: Connection, settings: Settings) -> ArticlePage:
        """Ask it once."""
        return await article_page(
            connection, settings, self.wanted, limit=self.limit, after=self.after, direction=self.direction
        )


@dataclass(frozen=True)
class Covered(Question[StateCounts]):
    """The number of articles by state. It reads every text, so its time is limited.

    Attributes:
        report: Called with the counts so far.
        count_s: Seconds after which counting stops; an incomplete count is not `done`.
    """

    pause_s = 10.0
    every_s = 120.0
    within_s = DAY_S

    report: Callable[[StateCounts], None] = field(compare=False)
    count_s: float = COUNT_S

    async def ask(self, connection: Connection, settings: Settings) -> StateCounts:
        """Ask it once."""
        ends, found = monotonic() + self.count_s, None
        async with aclosing(coverage_by_state(connection, settings)) as steps:
            async for found in steps:
                if found.done or monotonic() > ends:
                    break
                self.report(found)
                await asyncio.sleep(0)
        assert found is not None
        return found


@dataclass(frozen=True)
class LastBackfill(Question[Operation | None]):
    """The last backfill and the state of its tasks; None if there was none."""

    pause_s = 2.0

    async def ask(self, connection: Connection, settings: Settings) -> Operation | None:
        """Ask it once."""
        return await bulk.status(connection)


@dataclass(frozen=True)
class Article(Question[ArticleDetail | None]):
    """An article with its chunks and tasks; None if it does not exist."""

    article: int

    async def ask(self, connection: Connection, settings: Settings) -> ArticleDetail | None:
        """Ask it once."""
        return await article_detail(connection, settings, self.article)


@dataclass(frozen=True)
class ChunkText(Question[str | None]):
    """The text of a chunk; None if it no longer exists."""

    article: int
    index: int

    async def ask(self, connection: Connection, settings: Settings) -> str | None:
        """Ask it once."""
        return await chunk_text(connection, self.article, self.index)
