"""Articles as lines and table rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from rich.text import Text

from embedq_tui.filters.article_filter import format_filter, matching
from embedq_tui.rendering.keys import key
from embedq_tui.rendering.lines import labelled
from embedq_tui.rendering.styles import ARTICLE_STYLES, DOUBTFUL, GOOD, HEAD, QUIET
from embedq_tui.rendering.words import ago, count, relative, size_of
from embedq_tui.screens.paging import next_page
from embedq_tui.widgets.rows import Aged, Cell, Column, Row
from embedq_worker.actions.bulk import Operation
from embedq_worker.insights.articles import ArticleFilter, ArticlePage, ArticleRow, State, StateCounts
from embedq_worker.insights.shares import percentage
from embedq_worker.text import age, printable_line

STATE_WORDS: Mapping[State, str] = {State.MODEL: "other model"}

_WELL = (State.EXCLUDED, State.EMPTY)
_WRONG = (State.QUEUED, State.MISSING, State.FAILED, State.STALE, State.MODEL)

COLUMNS = (
    Column("id", "Id", 8, hidden_below=100),
    Column("state", "State", 14),
    Column("slug", "Slug", 0),
    Column("title", "Title", 0, hidden_below=100),
    Column("folder", "Folder", 16, hidden_below=140),
    Column("size", "Text", 8, right=True),
    Column("chunks", "Chunks", 6, right=True),
    Column("embedded", "Embedded", 14),
    Column("models", "Model", 24, hidden_below=140),
)


def word_of(state: State) -> str:
    """The display name of a state."""
    return STATE_WORDS.get(state, state.value)


def row_of(article: ArticleRow) -> Row:
    """An article as a table row."""
    style = ARTICLE_STYLES[article.state]
    state = Text(word_of(article.state), style)
    if article.state is State.QUEUED and article.category is not None:
        state.append(f" {article.category.value}", QUIET)
    cells: tuple[Cell, ...] = (
        Text(str(article.id), QUIET),
        state,
        Text(printable_line(article.slug, 200)),
        Text(printable_line(article.title, 200)),
        Text(printable_line(article.folder, 200), QUIET),
        Text(size_of(article.size)),
        Text(f"{article.chunks:,}"),
        Aged(article.embedded_at, relative) if article.embedded_at else Text("never"),
        Text(printable_line(", ".join(model or "unknown" for model in article.models), 100)),
    )
    return Row(str(article.id), cells)


def figures(found: StateCounts, counted_s: float, *, counting: bool) -> Iterator[Text]:
    """The number of articles by state, in two lines.

    Args:
        found: The counts.
        counted_s: Their age in seconds.
        counting: Counting is still in progress.
    """
    line = labelled("Articles")
    line.append(f"{found.articles:,}" if found.done else f"first {found.articles:,}", HEAD)
    if found.done:
        line.append(f" ({age(counted_s)} ago)", QUIET)
    if not found.done:
        line.append(", counting" if counting else f", {key('articles.count')}: count all", QUIET)
    embedded = found.by_state[State.EMBEDDED]
    wanted = found.articles - found.by_state[State.EXCLUDED] - found.by_state[State.EMPTY]
    # Of some of the articles it would mean nothing: the first ones are usually embedded.
    share = f" ({percentage(embedded / wanted, 1)})" if wanted and found.done else ""
    line.append(f"  embedded {embedded:,}{share}", GOOD)
    for state in _WELL:
        line.append(f"  {word_of(state)} {found.by_state[state]:,}", ARTICLE_STYLES[state])
    yield line
    line = labelled("To do")
    for place, state in enumerate(_WRONG):
        number = found.by_state[state]
        style = ARTICLE_STYLES[state] if number else QUIET
        line.append(f"{'  ' if place else ''}{word_of(state)} {number:,}", style)
    yield line


def backfill_line(found: Operation, now: datetime) -> Text:
    """One line about the last backfill."""
    line = labelled("Backfill")
    silent = found.state == "running" and found.silent_s > 30
    style = DOUBTFUL if silent or found.state in ("stopped", "rolled_back") else GOOD
    line.append("not responding" if silent else found.state.replace("_", " "), style)
    line.append(f", queued {found.queued:,} of {found.planned:,}")
    if scope := matching(found.filter):
        line.append(f" ({scope})")
    left = [f"{found.tasks[name]:,} {name}" for name in _LEFT if found.tasks.get(name)]
    line.append(f": {', '.join(left)}" if left else "")
    return line.append(f"; {ago(found.started_at, now)} by {printable_line(found.by, 40)}")


_LEFT = ("pending", "processing", "failed")


def filter_line(wanted: ArticleFilter) -> Text:
    """The filter; without one, a hint on how to filter."""
    line = Text()
    if wanted.states:
        line.append(", ".join(map(word_of, wanted.states)), f"reverse {HEAD}")
        line.append(" ")
    words = format_filter(replace(wanted, states=()))
    if words or wanted.states:
        return line.append(printable_line(words), HEAD)
    return Text(
        f"{key('articles.filter')} filter   {key('articles.state_next')} state   "
        f"{key('articles.search')} search by meaning",
        QUIET,
    )


def place_line(page: ArticlePage, number: int, direction: str, *, filtered: bool) -> Text:
    """The position in the list.

    Args:
        page: The page shown.
        number: Its number, counted from 1.
        direction: The sort order.
        filtered: A filter is in force.
    """
    shown, more = len(page.articles), page.next is not None
    if not shown and not more and number == 1:
        return Text("no matches" if filtered else "no articles", DOUBTFUL)
    line = Text(f"{direction} first", QUIET)
    if number > 1:
        line.append(f" page {number}", HEAD)
    goes_on = next_page("articles") if more else ""
    if page.looked_at > shown:
        return line.append(f"  {shown:,} of {page.looked_at:,} examined{goes_on}", DOUBTFUL)
    return line.append(f"  {count(shown, 'article')}{goes_on}")
