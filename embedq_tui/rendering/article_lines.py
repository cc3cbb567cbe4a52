"""An article in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from embedq_tui.rendering.words import count, moment, size_of
from embedq_worker.insights.articles import ArticleRow, State
from embedq_worker.text import printable_line


def article_facts(article: ArticleRow, now: datetime) -> Iterator[tuple[str, str]]:
    """What is known of an article beside its names, each fact with its name.

    Args:
        article: As stored.
        now: The database's time.
    """
    if article.folder:
        yield "folder", printable_line(article.folder)
    yield "text", f"{size_of(article.size)}, changed {moment(article.updated_at, now)}"
    models = printable_line(", ".join(model or "unknown model" for model in article.models))
    by = f" by {models}" if models else ""
    mends = f" ({article.category})" if article.state is State.QUEUED and article.category else ""
    yield "embeddings", f"{article.state}{mends}, {count(article.chunks, 'chunk')}{by}"
    if article.embedded_at:
        yield "embedded", moment(article.embedded_at, now)


def article_lines(article: ArticleRow, now: datetime) -> Iterator[str]:
    """Describe an article, line by line.

    Args:
        article: As stored.
        now: The database's time.
    """
    yield f"Article {article.id}: {printable_line(article.slug)}"
    yield f"  title      {printable_line(article.title)}"
    for name, words in article_facts(article, now):
        yield f"  {name:<10} {words}"
