"""`embedq-tui queue`: queue specific articles."""

from __future__ import annotations

import click

from embedq_tui.commands.asking import ask
from embedq_tui.commands.invocation import Invocation, TextValue, operator, operator_command, priority_option
from embedq_tui.commands.output import print_json, progress, say
from embedq_tui.rendering.outcomes import queued_words
from embedq_worker.actions.requeue import Requeued, queue_articles
from embedq_worker.database.connections import Connection
from embedq_worker.errors import ExitCode
from embedq_worker.insights.detail import article_id
from embedq_worker.schema.state import require_current
from embedq_worker.schema.task_values import Priority


@click.command("queue", epilog="Example: embedq-tui queue release-notes --priority high")
@click.argument("articles", nargs=-1, required=True, type=TextValue(), metavar="ID|SLUG..")
@priority_option("normal")
@operator_command
def command(invocation: Invocation, articles: tuple[str, ...], priority: Priority) -> ExitCode:
    """Queue articles, whether or not they need embedding.

    If any slug is unknown, nothing is queued. Unchanged chunks keep their vectors. To find and queue whatever
    needs embedding, use `backfill`. Exits 1 if none of them has a pending task afterwards.
    """
    settings = invocation.settings()

    async def queue(connection: Connection) -> Requeued:
        await require_current(connection)
        ids = [await article_id(connection, key) for key in dict.fromkeys(articles)]
        with progress("Articles examined", len(ids)) as bar:
            return await queue_articles(
                connection,
                ids,
                by=operator(),
                max_attempts=settings.max_retries,
                priority=priority,
                progress=bar.reached,
            )

    outcome = ask(settings, queue, own_progress=True)
    if invocation.as_json:
        print_json(outcome)
    else:
        for words in queued_words(outcome):
            say(words)
    return ExitCode.OK if outcome.queued or outcome.waiting else ExitCode.NO
