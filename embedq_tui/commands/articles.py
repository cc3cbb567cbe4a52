"""`embedq-tui articles`: articles with the state of their embeddings, page by page."""

from __future__ import annotations

import math
from datetime import datetime

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import (
    FolderValue,
    Invocation,
    TextValue,
    after_option,
    limit_option,
    operator_command,
)
from embedq_tui.commands.output import Column, print_json, print_table, progress, say
from embedq_tui.rendering.words import ago
from embedq_worker.errors import ExitCode
from embedq_worker.insights.articles import ArticleFilter, ArticleRow, State, article_page
from embedq_worker.queue.selection import Direction


def _place(text: str) -> int:
    """Parse the id beyond which a page begins."""
    place = int(text)
    if not -(2**31) <= place < 2**31:  # int of PostgreSQL
        raise ValueError(text)
    return place


@click.command(
    "articles", epilog="Example: embedq-tui articles --state missing --state stale --folder guides"
)
@click.option(
    "--state",
    "states",
    type=click.Choice([state.value for state in State]),
    multiple=True,
    help="Only articles in this state; repeatable.",
)
@click.option("--folder", type=FolderValue(), metavar="FOLDER", help="Only this folder and its subfolders.")
@click.option("--text", type=TextValue(), metavar="TEXT", help="Only slugs or titles that contain it.")
@limit_option("Articles per page.", default=50, most=10_000)
@after_option(_place)
@click.option(
    "--sort",
    type=click.Choice(["newest", "oldest"]),
    default="newest",
    show_default=True,
    help="The highest or the lowest ids first.",
)
@operator_command
def command(
    invocation: Invocation,
    states: tuple[str, ...],
    folder: str | None,
    text: str | None,
    limit: int,
    after: int | None,
    sort: Direction,
) -> ExitCode:
    """List articles with the state of their embeddings.

    The state is what `backfill` and `verify` go by. Finding a rare one reads the texts of all articles. Exits
    1 if none match.
    """
    settings = invocation.settings()
    wanted = ArticleFilter(tuple(map(State, states)), folder or "", text or "")
    with progress("Articles examined") as bar:
        page = ask(
            settings,
            lambda connection: article_page(
                connection,
                settings,
                wanted,
                limit=limit,
                after=after,
                direction=sort,
                walk_s=math.inf,
                progress=bar.reached,
            ),
            own_progress=True,
        )
    if invocation.as_json:
        print_json({"at": page.at, "articles": page.articles, "next": page.next})
    elif not page.articles:
        say("No articles match.")
    else:
        columns = [
            Column("Id", right=True),
            Column("State"),
            Column("Slug", least=12),
            Column("Folder", least=8),
            Column("Chunks", right=True),
            Column("Embedded"),
        ]
        print_table(columns, [_row(article, page.at) for article in page.articles])
        if page.next is not None:
            say()
            say(f"More: --after {page.next}")
    return ExitCode.OK if page.articles else ExitCode.NO


def _row(article: ArticleRow, now: datetime) -> list[str]:
    state, embedded = article.state.value, ago(article.embedded_at, now)
    return [str(article.id), state, article.slug, article.folder, str(article.chunks), embedded]
