"""`embedq-tui demo`: the whole system at work on real articles, with nothing to set up."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from embedq_tui.commands.invocation import Invocation, NamedPath, operator, operator_command
from embedq_tui.commands.opening import open_console, require_terminal
from embedq_tui.commands.output import print_json, say, say_wrapped
from embedq_tui.commands.search import find, hit_lines
from embedq_tui.commands.status import look, status_lines
from embedq_tui.rendering.words import count
from embedq_worker.configuration.loading import NO_FILE, environment_of
from embedq_worker.configuration.settings import DEFAULT_MODELS, Settings
from embedq_worker.content.articles import ImportCounts, ImportOptions, store_articles
from embedq_worker.content.demo_traffic import keep_busy
from embedq_worker.content.reference_corpus import FOLDER, python_topics
from embedq_worker.content.search import SearchHit
from embedq_worker.database.connections import DirectConnection, connected
from embedq_worker.embedded import START_OVER, default_folder, embedded_server
from embedq_worker.errors import EmbedqError, ExitCode, SchemaError
from embedq_worker.insights.coverage import Coverage, coverage
from embedq_worker.insights.overview import Overview
from embedq_worker.process.running import run
from embedq_worker.schema import migrations

QUESTION = "how do I catch an exception"
HITS = 3


@click.command("demo", epilog="Example: embedq-tui demo --headless --path /tmp/demo")
@click.option(
    "--headless", is_flag=True, help="Without the console: drain the queue, print the status, search."
)
@click.option("--busy", is_flag=True, help="Keep editing articles, and let some tasks fail.")
@click.option("--path", type=NamedPath(path_type=Path), metavar="FOLDER", help="Keep the database there.")
@click.option("--fresh", is_flag=True, help="Start over: delete what earlier demos left in the folder.")
@click.option("--yes", is_flag=True, help="Use the server of DATABASE_URL even if it holds other articles.")
@operator_command
def command(
    invocation: Invocation, headless: bool, busy: bool, path: Path | None, fresh: bool, yes: bool
) -> int:
    """Embed real articles with a local model, and search them.

    Starts a private PostgreSQL in a folder that is kept for next time, imports the language reference bundled
    with Python, and opens the console with a worker that embeds it. --headless and --json run a search
    instead of opening the console. If DATABASE_URL or DB_HOST is set, that server is used.
    """
    quiet = invocation.as_json
    if not headless and not quiet:
        require_terminal()
    elif busy:
        raise click.UsageError("--busy works only with the console, not with --headless or --json")
    with _settings(invocation, path, fresh) as settings:
        if not headless and not quiet:
            return _open(settings, busy=busy, other_articles_allowed=yes)
        covered, seen, hits = run(_show(settings, quiet=quiet, other_articles_allowed=yes))
    if quiet:
        print_json(
            {
                "database": settings.place,
                "articles": covered.articles,
                "embedded": covered.embedded,
                "failed": seen.queue.counts.failed,
                "question": QUESTION,
                "hits": hits,
            }
        )
    complete = covered.embedded == covered.articles
    # Failed tasks do not count: they may be left over from an earlier --busy.
    return ExitCode.OK if complete and hits else ExitCode.NO


@contextmanager
def _settings(invocation: Invocation, path: Path | None, fresh: bool) -> Iterator[Settings]:
    """The demo's settings: the local model, on a private server or on the configured one."""
    model, dimensions = DEFAULT_MODELS["local"]
    local = {"provider": "local", "model_name": model, "dimensions_wanted": dimensions}
    named = invocation.settings()
    if named.database_url or named.db_host:
        if path or fresh:
            raise click.UsageError(
                "--path and --fresh apply to the demo's own server, but DATABASE_URL or DB_HOST is set"
            )
        yield invocation.settings(**local)
        return
    with embedded_server(path or default_folder(), fresh=fresh) as server:
        if not invocation.as_json:
            say(f"PostgreSQL in {server.folder}{' (new)' if server.is_new else ''}")
        try:
            yield invocation.settings(database_url=server.url, **local)
        except SchemaError as error:
            raise SchemaError(f"{server.folder}: {error.message}", START_OVER) from error


def _open(settings: Settings, *, busy: bool, other_articles_allowed: bool) -> int:
    """Open the console on it, with a supervised worker."""
    run(_prepare(settings, say, other_articles_allowed=other_articles_allowed))
    say("Opening the console; press q to quit")
    companion = partial(keep_busy, settings, operator()) if busy else None
    settings = settings.model_copy(update={"concurrency": 2, "batch_size": 4})
    return open_console(settings=settings, worker=True, companion=companion)


async def _prepare(
    settings: Settings, report: Callable[[str], None], *, other_articles_allowed: bool
) -> None:
    """Bring the schema up to date and import the articles."""
    applied = await migrations.up(settings)
    report(f"Schema: {count(len(applied), 'migration')} applied" if applied else "Schema: up to date")
    async with connected(settings) as connection:
        if not other_articles_allowed:
            await _refuse_other_articles(connection, settings)
        imported = ImportCounts()
        options = ImportOptions(operator(), settings.max_retries)
        async for batch in store_articles(connection, python_topics(), options):
            imported.add(batch)
    report(
        f"Articles: {imported.created} created, {imported.updated} updated, {imported.unchanged} unchanged; "
        f"{imported.queued} queued"
    )


async def _show(
    settings: Settings, *, quiet: bool, other_articles_allowed: bool
) -> tuple[Coverage, Overview, list[SearchHit]]:
    """Embed the articles and search them, as an operator would.

    Returns:
        How many of them are embedded, the queue afterwards, and what was found.
    """

    def report(line: str) -> None:
        if not quiet:
            say(line)

    await _prepare(settings, report, other_articles_allowed=other_articles_allowed)
    report("Worker: draining the queue")
    await _drain(settings)
    async with connected(settings) as connection:
        covered = await coverage(connection, FOLDER)
        seen, dead = await look(connection, settings)
    hits, _, _ = await find(settings, QUESTION, HITS)
    report("")
    for line in status_lines(seen, dead, settings):
        report(line)
    report(f"Articles embedded: {covered.embedded} of {covered.articles}")
    report(f'\nembedq-tui search "{QUESTION}"')
    for number, hit in enumerate(hits, start=1):
        for line in hit_lines(number, hit):
            if not quiet:
                say_wrapped(line, 11)
    return covered, seen, hits


async def _refuse_other_articles(connection: DirectConnection, settings: Settings) -> None:
    """Refuse to add the demo's articles to a database that is in use.

    Raises:
        EmbedqError: It holds other articles.
    """
    others = (await coverage(connection)).articles - (await coverage(connection, FOLDER)).articles
    if others:
        raise EmbedqError(
            f"{settings.place} holds {count(others, 'article')} that are not the demo's",
            "unset DATABASE_URL to use a private server, or add --yes",
        )


async def _drain(settings: Settings) -> None:
    """Run a worker as an operator would, until the queue is empty.

    Raises:
        EmbedqError: It failed.
    """
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "embedq_worker", "--drain", "--concurrency", "2", "--batch-size", "20"),
        *("--log-level", "warn", "--env-file", str(NO_FILE)),
        env=environment_of(settings, os.environ),
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        code = await worker.wait()
    except asyncio.CancelledError:
        worker.terminate()
        await worker.wait()
        raise
    if code:
        raise EmbedqError(f"the worker ended with exit code {code}", "its last log lines are above")
