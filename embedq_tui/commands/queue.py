"""`embedq-tui queue`: put articles that are named into the queue."""

from __future__ import annotations

import asyncio

import click

from embedq_tui.invocation import Invocation, operator, operator_command
from embedq_tui.output import print_json, progress, say
from embedq_tui.workflows.queueing import told
from embedq_worker.actions.requeue import Requeued, queue_articles
from embedq_worker.content.articles import Priority
from embedq_worker.database.connections import connected
from embedq_worker.errors import ExitCode
from embedq_worker.insights.detail import article_id
from embedq_worker.queue.words import PRIORITIES
from embedq_worker.schema import migrations
from embedq_worker.settings import Settings


@click.command("queue", epilog="Example: embedq-tui queue release-notes --priority high")
@click.argument("articles", nargs=-1, required=True, metavar="ID|SLUG..")
@click.option(
    "--priority", type=click.Choice(PRIORITIES), default="normal", show_default=True, help="Of the tasks."
)
@operator_command
def command(invocation: Invocation, articles: tuple[str, ...], priority: Priority) -> ExitCode:
    """Queue articles, whatever is stored of them.

    Where a slug is not known nothing is queued. Chunks that have not changed keep their vectors. `backfill`
    finds what needs embedding by itself. Exits 1 when no task waits for any of them afterwards.
    """
    outcome = asyncio.run(_queue(invocation.settings(), articles, priority))
    if invocation.as_json:
        print_json(outcome)
    else:
        for words in told(outcome):
            say(words)
    return ExitCode.OK if outcome.queued or outcome.waiting else ExitCode.NO


async def _queue(settings: Settings, articles: tuple[str, ...], priority: Priority) -> Requeued:
    async with connected(settings) as connection:
        await migrations.require_current(connection)
        ids = [await article_id(connection, key) for key in dict.fromkeys(articles)]
        with progress("Articles looked at", len(ids)) as reached:
            return await queue_articles(
                connection,
                ids,
                by=operator(),
                max_attempts=settings.max_retries,
                priority=priority,
                progress=reached,
            )
