"""An article as lines and table rows: its facts, its chunks, its tasks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.text import Text

from embedq_tui.rendering.lines import labelled
from embedq_tui.rendering.styles import ARTICLE_STYLES, BAD, DOUBTFUL, HEAD, NAME, QUIET, STATUS_STYLES
from embedq_tui.rendering.words import moment, relative, size_of
from embedq_tui.widgets.rows import Aged, Cell, Column, Row
from embedq_worker.insights.articles import ArticleRow, State
from embedq_worker.insights.detail import ChunkRow
from embedq_worker.insights.tasks import TaskRow
from embedq_worker.text import printable_line

_STATES = {
    "empty": "empty: it has no text",
    "stale": "stale: its embeddings are not those of its text",
    "missing": "missing: no embeddings stored",
    "model": "other model: by another or an unknown one",
    "failed": "failed: its last task has failed",
    "excluded": "excluded (no_rag)",
    "no_rag": "embeddings to remove (no_rag)",
}
"""By state, or by what a task that waits will mend. The others are words already."""

CHUNKS = (
    Column("index", "Chunk", 5, right=True),
    Column("heading", "Heading", 0),
    Column("characters", "Text", 7, right=True),
    Column("model", "Model", 26, hidden_below=100),
    Column("hash", "Hash", 12, hidden_below=120),
    Column("stored", "Stored", 14),
)
TASKS = (
    Column("id", "Task", 36),
    Column("status", "Status", 10),
    Column("operation", "Kind", 6),
    Column("when", "When", 15),
    Column("attempts", "Tries", 5, hidden_below=90),
    Column("error", "Error", 0, hidden_below=110),
)


def facts(article: ArticleRow, now: datetime, *, model: str) -> Iterator[Text]:
    """An article at a glance, one fact per line.

    Args:
        article: The article as stored.
        now: The database's time.
        model: The configured model.
    """
    yield labelled("Article").append(printable_line(article.title or "no title"), HEAD)
    slug = labelled("Slug").append(printable_line(article.slug), NAME).append(f"  (article {article.id})")
    yield slug.append(f"  in {printable_line(article.folder)}") if article.folder else slug
    changed = moment(article.updated_at, now)
    yield labelled("Text").append(f"{size_of(article.size)}, changed {changed}")
    line = labelled("State").append(_STATES.get(article.state, article.state), ARTICLE_STYLES[article.state])
    if article.state is State.QUEUED and article.category:
        line.append(f", {_STATES[article.category]}", QUIET)
    if article.embedded_at:
        since = moment(article.embedded_at, now)
        line.append(f" {since}" if article.state is State.EMBEDDED else f", embedded {since}")
    yield line
    if article.models:
        names = printable_line(", ".join(name or "unknown" for name in article.models))
        other = [name for name in article.models if name != model]
        line = labelled("Model").append(names, DOUBTFUL if other else "")
        yield line.append(f"  (configured: {model})", QUIET) if other else line


def chunk_row(chunk: ChunkRow) -> Row:
    """A chunk as a table row."""
    cells: tuple[Cell, ...] = (
        Text(f"{chunk.index}"),
        Text(printable_line(" > ".join(part for part in chunk.heading_path if part), 300)),
        Text(f"{chunk.characters:,}"),
        Text(printable_line(chunk.model or "unknown", 60), "" if chunk.model else DOUBTFUL),
        Text(printable_line(chunk.content_hash, 12), QUIET),
        Aged(chunk.created_at, relative) if chunk.created_at else Text("unknown"),
    )
    return Row(str(chunk.index), cells)


def task_row(task: TaskRow) -> Row:
    """A task as a table row."""
    cells: tuple[Cell, ...] = (
        Text(str(task.id), QUIET),
        Text(printable_line(task.status), STATUS_STYLES.get(task.status, "")),
        Text(printable_line(task.operation)),
        Aged(task.at, relative) if task.at else Text("unknown"),
        Text(f"{task.attempts}/{task.max_attempts}"),
        Text(printable_line(task.error[:500]), BAD if task.status == "failed" else QUIET),
    )
    return Row(str(task.id), cells)
