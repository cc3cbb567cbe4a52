"""`embedq-tui article`: an article, its tasks and its embeddings."""

from __future__ import annotations

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, TextValue, operator_command
from embedq_tui.commands.output import Column, print_json, print_table, say
from embedq_tui.commands.task_table import print_tasks
from embedq_tui.rendering.article_lines import article_lines
from embedq_worker.configuration.settings import Settings
from embedq_worker.database.connections import Connection
from embedq_worker.errors import EmbedqError
from embedq_worker.insights.detail import ArticleDetail, ChunkRow, article_detail, article_id


@click.command("article", epilog="Example: embedq-tui article getting-started")
@click.argument("article", type=TextValue(), metavar="ID|SLUG")
@operator_command
def command(invocation: Invocation, article: str) -> None:
    """Show an article with its newest tasks and its stored chunks. Exits 1 if it does not exist."""
    settings = invocation.settings()
    found = ask(settings, lambda connection: _find(connection, settings, article))
    if found is None:
        raise EmbedqError(f"there is no article {article!r}", "give its id or its full slug")
    if invocation.as_json:
        print_json(found)
        return
    for line in article_lines(found.article, found.at):
        say(line)
    if found.tasks:
        say()
        print_tasks(found.tasks, found.at)
    if found.chunks:
        say()
        columns = [
            Column("Chunk", right=True),
            Column("Heading"),
            Column("Characters", right=True),
            Column("Model"),
        ]
        print_table(columns, [_row(chunk) for chunk in found.chunks])


async def _find(connection: Connection, settings: Settings, article: str) -> ArticleDetail | None:
    return await article_detail(connection, settings, await article_id(connection, article))


def _row(chunk: ChunkRow) -> list[str]:
    return [
        str(chunk.index),
        " > ".join(chunk.heading_path),
        f"{chunk.characters:,}",
        chunk.model or "unknown",
    ]
